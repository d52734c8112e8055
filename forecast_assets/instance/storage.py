"""Dagster's PostgreSQL storage with connections that stay open and locks on the runs at work.

dagster-postgres opens a connection for every statement. Each login costs several milliseconds, and
a refresh executes about a hundred statements. `dagster.yaml` configures the class here as the
storage; the webserver replaces the engines with a pool of its own. What the locks are for is in
`liveness.py`.
"""

from typing import Any

from dagster import DagsterEventType, EventLogEntry
from dagster_postgres import DagsterPostgresStorage, PostgresEventLogStorage
from dagster_postgres.utils import create_pg_engine, pg_url_from_config

from forecast_assets.instance.liveness import RunLocks
from warehouse.environment import forget_libpq_variables

RUN_ENDS = frozenset(
    {DagsterEventType.RUN_SUCCESS, DagsterEventType.RUN_FAILURE, DagsterEventType.RUN_CANCELED}
)


class RunLockingEventLog(PostgresEventLogStorage):
    """Holds a run's lock in the process that stores its start, until its end is stored.

    The process that executes a run stores its start, whoever started it and whatever its executor.
    """

    def __init__(self, postgres_url: str, *arguments: Any, **others: Any) -> None:
        """Create the event log of dagster-postgres; the arguments are the same."""
        super().__init__(postgres_url, *arguments, **others)
        self.run_locks = RunLocks(postgres_url)

    def store_event(self, event: EventLogEntry) -> None:
        """Store an event; take the run's lock before its start, release it after its end."""
        kind = event.dagster_event.event_type if event.dagster_event else None
        if kind is DagsterEventType.RUN_START:
            self.run_locks.hold(event.run_id)
        super().store_event(event)
        if kind in RUN_ENDS:
            self.run_locks.release(event.run_id)


class KeptConnectionsStorage(DagsterPostgresStorage):
    """Keeps one connection each for runs, events and schedules, in every process.

    Each connection is tested before use, so PostgreSQL may restart between two statements. Threads
    that need more connections at the same time open them and close them again.
    """

    def __init__(self, postgres_url: str, **others: Any) -> None:
        """Create the storages of dagster-postgres and give them engines that pool.

        Args:
            postgres_url: The address of Dagster's database.
            others: Options of the parent class: `should_autocreate_tables`, `inst_data`.
        """
        forget_libpq_variables()
        super().__init__(postgres_url, **others)
        self._event_log_storage = RunLockingEventLog(
            postgres_url, self.should_autocreate_tables, token_provider=others.get("token_provider")
        )
        for storage in (self._run_storage, self._event_log_storage, self._schedule_storage):
            # Undocumented; test_connections.py checks it against the pinned version.
            storage._engine = create_pg_engine(
                postgres_url,
                isolation_level="AUTOCOMMIT",
                pool_size=1,
                max_overflow=-1,
                pool_pre_ping=True,
            )

    @classmethod
    def from_config_value(cls, inst_data: Any, config_value: Any) -> "KeptConnectionsStorage":
        """Create the storage from `dagster.yaml`; the parent's method would create a parent."""
        return cls(
            pg_url_from_config(config_value),
            should_autocreate_tables=config_value.get("should_autocreate_tables", True),
            inst_data=inst_data,
        )
