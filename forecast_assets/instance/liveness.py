"""Which runs are alive, whoever started them and on whichever machine: a lock for each.

The process that executes a run holds an advisory lock in Dagster's database. PostgreSQL frees it
when the process or its machine is gone, so a lock that nobody holds means a dead run. Dagster
itself cannot tell for runs that no launcher started (`dagster asset materialize`) nor for runs of a
host that no longer exists (a recreated container).

The same connection brings the wish to end a run to its process, from a webserver that runs on
another machine or in another container and can send it no signal.

`storage.py` takes the locks, `run_launcher.py` asks for them.
"""

import hashlib
import logging
import os
import signal
import threading

from dagster_postgres.utils import create_pg_engine
from sqlalchemy import text
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool

#: First key of the advisory locks, so that no other use of such locks meets them ("runs").
LOCK_CLASS = int.from_bytes(b"runs")

#: Run tag: somebody elsewhere wants the run to end. The UI hides tags with this prefix.
END_TAG = ".dagster/end_asked"

#: Seconds after which a lost connection is noticed and the lock is taken again, and after which a
#: run learns that it shall end.
RENEW_SECONDS = 3.0

_TAKE = text("SELECT pg_try_advisory_lock(:lock_class, :run)")
_IS_HELD = text(
    "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted "
    "AND database = (SELECT oid FROM pg_database WHERE datname = current_database()) "
    "AND classid = CAST(:lock_class AS bigint)::oid AND objid = CAST(:run AS bigint)::oid"
)
_IS_END_ASKED = text("SELECT count(*) FROM run_tags WHERE run_id = :run_id AND key = :tag")


def lock_key(run_id: str) -> int:
    """Return the second key of a run's lock: 31 bits of its id's hash."""
    return int.from_bytes(hashlib.sha256(run_id.encode()).digest()[:4]) >> 1


class RunLocks:
    """The locks of the runs that this process executes."""

    def __init__(self, postgres_url: str) -> None:
        """Connect to nothing yet.

        Args:
            postgres_url: The address of Dagster's database.
        """
        self._url = postgres_url
        self._ends: dict[str, threading.Event] = {}

    def hold(self, run_id: str) -> None:
        """Hold a run's lock until `release`, or until this process is gone."""
        if run_id in self._ends:
            return
        ended = self._ends[run_id] = threading.Event()
        engine = self._engine()
        # Before the run counts as started, so that nobody sees it without its lock.
        connection = _take(engine, run_id)
        threading.Thread(
            target=_keep, args=(engine, connection, run_id, ended), name="run lock", daemon=True
        ).start()

    def release(self, run_id: str) -> None:
        """Release a run's lock if this process holds it."""
        ended = self._ends.pop(run_id, None)
        if ended is not None:
            ended.set()

    def is_held(self, run_id: str) -> bool:
        """Return whether some process holds a run's lock."""
        with self._engine().connect() as connection:
            keys = {"lock_class": LOCK_CLASS, "run": lock_key(run_id)}
            return bool(connection.execute(_IS_HELD, keys).scalar_one())

    def _engine(self) -> Engine:
        return create_pg_engine(self._url, isolation_level="AUTOCOMMIT", poolclass=NullPool)


def _take(engine: Engine, run_id: str) -> Connection:
    connection = engine.connect()
    connection.execute(_TAKE, {"lock_class": LOCK_CLASS, "run": lock_key(run_id)})
    return connection


def _keep(engine: Engine, connection: Connection, run_id: str, ended: threading.Event) -> None:
    """Hold a lock until its run has ended; take it again when PostgreSQL was restarted.

    If somebody asks for the run's end meanwhile, the process gets the signal that a launcher on its
    own machine would send, once: a second one would interrupt what the first one began.
    """
    asked: dict[str, object] = {"run_id": run_id, "tag": END_TAG}
    is_signalled = False
    while not ended.wait(RENEW_SECONDS):
        try:
            is_asked = bool(connection.execute(_IS_END_ASKED, asked).scalar_one())
            if is_asked and not is_signalled and not ended.is_set():
                is_signalled = True
                os.kill(os.getpid(), signal.SIGTERM)
        except SQLAlchemyError as error:
            connection.invalidate()
            connection.close()
            logging.getLogger(__name__).info("run %s: lost its lock (%s)", run_id, error)
            try:
                connection = _take(engine, run_id)
            except SQLAlchemyError:
                # PostgreSQL is still away. The closed connection fails again in the next round.
                continue
    connection.close()
