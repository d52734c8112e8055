"""The service's ways to the sales database.

JSON answers come through psycopg's asynchronous pool. Files (Parquet, Arrow, CSV) and computations
come through ADBC, in a bounded number of threads. Both sign in as the reader, whose transactions
are read-only; adjustments and comments go in as the planner, who can do nothing else.
"""

import asyncio
import select
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeVar
from urllib.parse import quote

import adbc_driver_postgresql.dbapi as adbc
import anyio
from anyio import CapacityLimiter, to_thread
from psycopg import AsyncConnection, AsyncRawCursor
from psycopg.conninfo import make_conninfo
from psycopg.rows import dict_row
from psycopg_pool import AsyncConnectionPool

from forecast_service.problems import ServiceError, unavailable
from forecast_service.settings import Settings
from warehouse.connection import Transaction, Warehouse
from warehouse.service.runs import LOCK

T = TypeVar("T")

#: Connections of the planner's role; its rows are small and rare.
PLANNER_CONNECTIONS = 2
#: Seconds after which an unused connection is closed.
IDLE_SECONDS = 300.0
#: Computations that may wait for a thread, for each thread.
WAITING_PER_THREAD = 8
#: What PostgreSQL says when `statement_timeout` ends a statement.
_QUERY_CANCELED = "57014"


class Database:
    """The sales database, as reader and as planner."""

    def __init__(self, settings: Settings) -> None:
        """Remember the addresses; `open` connects."""
        options = _options(settings, read_only=True)
        reader = settings.reader_url.get_secret_value()
        self._reader = _pool(reader, options, settings.pool_size, settings.pool_wait_seconds)
        self._planner: AsyncConnectionPool[Any] | None = None
        if settings.planner_url is not None:
            self._planner = _pool(
                settings.planner_url.get_secret_value(),
                _options(settings, read_only=False),
                PLANNER_CONNECTIONS,
                settings.pool_wait_seconds,
            )
        self._warehouse = Warehouse(_with_options(reader, options))
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._limiter = CapacityLimiter(settings.max_computations)
        self._max_waiting = WAITING_PER_THREAD * settings.max_computations

    async def open(self) -> None:
        """Start the pools. They connect behind the scenes, so the service starts without them."""
        await self._reader.open(wait=False)
        if self._planner is not None:
            await self._planner.open(wait=False)

    async def close(self) -> None:
        """Close every connection."""
        await self._reader.close()
        if self._planner is not None:
            await self._planner.close()

    async def rows(self, query: str, parameters: Sequence[Any] = ()) -> list[dict[str, Any]]:
        """Return the rows of one statement; parameters are `$1`, `$2` …."""
        async with self._reader.connection() as connection:
            # Statements are few, and a connection may be new: its first one is planned for good.
            cursor = await connection.execute(query, parameters, prepare=True)
            rows: list[dict[str, Any]] = await cursor.fetchall()
            return rows

    async def row(self, query: str, parameters: Sequence[Any] = ()) -> dict[str, Any] | None:
        """Return the only row of a statement; None if there is none."""
        rows = await self.rows(query, parameters)
        return rows[0] if rows else None

    @asynccontextmanager
    async def locked(self, name: str) -> AsyncIterator[None]:
        """Keep other requests of the same name waiting, in all processes of the service.

        Raises:
            psycopg.errors.LockNotAvailable: Another request takes too long.
        """
        # One connection waits for the others' processes, however many requests wait in this one.
        async with (
            self._locks[name],
            self._reader.connection() as connection,
            connection.transaction(),
        ):
            await connection.execute(LOCK, (name,))
            yield

    async def insert_as_planner(self, statement: str, parameters: Sequence[Any]) -> None:
        """Run a statement as the role that may insert adjustments and comments.

        Raises:
            ServiceError: The service has no address with that role.
        """
        if self._planner is None:
            raise ServiceError(
                503, "PLANNER_DATABASE_URL is not set, so the service can't store this"
            )
        async with self._planner.connection() as connection:
            await connection.execute(statement, parameters)

    async def compute(self, work: Callable[[Transaction], T]) -> T:
        """Run work on one read-only transaction in one of the service's threads.

        Raises:
            ServiceError: Too many computations wait already.
        """

        def run() -> T:
            try:
                with self._warehouse.transaction() as transaction:
                    return work(transaction)
            except adbc.Error as error:
                if error.sqlstate == _QUERY_CANCELED:
                    raise unavailable(
                        "the database took too long: ask for fewer stores or days"
                    ) from error
                raise

        if self._limiter.statistics().tasks_waiting >= self._max_waiting:
            raise ServiceError(
                429,
                "too many computations wait already; try again shortly",
                headers={"Retry-After": "5"},
            )
        # A client that leaves does not end the statement: statement_timeout does.
        return await to_thread.run_sync(run, limiter=self._limiter)

    def statistics(self) -> dict[str, int]:
        """Return the pool's counters."""
        return self._reader.get_stats()


async def in_thread(work: Callable[[], T], seconds: float) -> T:
    """Run blocking work that needs no transaction, for a bounded time.

    Raises:
        ServiceError: It took longer.
    """
    try:
        with anyio.fail_after(seconds):
            return await to_thread.run_sync(work, abandon_on_cancel=True)
    except TimeoutError:
        raise unavailable(f"no answer within {seconds:g} seconds; try again shortly") from None


def _options(settings: Settings, *, read_only: bool) -> str:
    milliseconds = round(1000 * settings.statement_seconds)
    options = {
        "statement_timeout": str(milliseconds),
        "idle_in_transaction_session_timeout": str(milliseconds),
        "lock_timeout": "2000",
        # Tables are partitioned by month: planning anew for every request costs more than it saves.
        "plan_cache_mode": "force_generic_plan",
        "timezone": "UTC",
        "default_transaction_read_only": "on" if read_only else "off",
    }
    return " ".join(f"-c {name}={value}" for name, value in options.items())


def _pool(
    address: str, options: str, size: int, wait_seconds: float
) -> "AsyncConnectionPool[AsyncConnection[dict[str, Any]]]":
    return AsyncConnectionPool(
        make_conninfo(
            address, options=options, connect_timeout="3", application_name="forecast_service"
        ),
        connection_class=AsyncConnection[dict[str, Any]],
        kwargs={"autocommit": True, "row_factory": dict_row, "cursor_factory": AsyncRawCursor},
        min_size=1,
        max_size=size,
        timeout=wait_seconds,
        max_idle=IDLE_SECONDS,
        check=_check,
        reconnect_timeout=5.0,
        open=False,
    )


async def _check(connection: AsyncConnection[Any]) -> None:
    """Refuse a connection that PostgreSQL has closed, so that no request meets it.

    Whatever an idle connection has to read is most often its end. One with nothing to read is open,
    and looking costs a system call where asking the server costs a tenth of a request.

    Raises:
        psycopg.OperationalError: The connection is closed.
    """
    readable = select.poll()
    readable.register(connection.pgconn.socket, select.POLLIN)
    if readable.poll(0):
        await AsyncConnectionPool.check_connection(connection)


def _with_options(address: str, options: str) -> str:
    """Return an address with further options for the server, for clients that take no keywords."""
    separator = "&" if "?" in address else "?"
    # A generic plan suits short statements; those of files and computations are long.
    kept = options.replace("force_generic_plan", "auto")
    return f"{address}{separator}options={quote(kept)}&connect_timeout=3"
