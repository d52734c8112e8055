"""Tests that kill processes in the middle of a refresh or a backfill.

Afterwards, the tables must equal those of an undisturbed run. The lock of an asset's month stops
each run at a chosen place. The test injects the fault there and then releases the lock. No stream
runs, because the other tests of this package cover its faults. The loader writes its rows instead.
"""

import os
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

import dagster as dg
import pandas as pd
import psutil
import psycopg
import pytest

from forecast_assets.defs.retention import MATERIALIZATION_BYTES
from forecast_assets.defs.scope import REFRESH_TAG
from forecast_assets.settings import settings
from local_stack import paths, postgres
from local_stack.dagster_processes import DAEMON, WEBSERVER
from local_stack.environment import component_environment
from local_stack.http import graphql
from local_stack.postgres import NAME as POSTGRES
from local_stack.postgres_roles import read_access
from local_stack.stack import Stack
from rossmann import kaggle
from rossmann.sample_data import sample_files
from tests.support.backfill import Backfill, store_partitions
from warehouse import loading
from warehouse.connection import SCHEMA, SERVERS_FAULT, Warehouse

STORES = 4
DAYS = 436
#: Each strike and each test after them takes a further day after the history.
END = date(2015, 6, 25)
HISTORY_UNTIL = date(2015, 6, 13)
CALENDAR = (date(2014, 4, 1), date(2015, 8, 31))
PERIOD = date(2015, 6, 1)

#: Seconds that a refresh may take after a fault, including the waits before its retries.
REFRESHED_SECONDS = 120.0

BACKFILLED = (date(2015, 3, 1), date(2015, 4, 1))

TABLES = {
    "cleaned_sales": "SELECT * FROM sales.cleaned_sales ORDER BY store, date",
    "features": "SELECT * FROM sales.features ORDER BY store, date",
    "models": "SELECT * FROM sales.models ORDER BY period_start, store",
    "forecasts": "SELECT * FROM sales.current_forecasts ORDER BY store, date",
    "backtests": "SELECT * FROM sales.forecasts_backtest ORDER BY store, origin, date",
    "accuracy": "SELECT * FROM sales.forecast_accuracy "
    "ORDER BY kind, store, date, lead_week, origin, model_version",
    "plans": "SELECT * FROM sales.planned_days ORDER BY store, date",
}


@dataclass
class Disturbed:
    """A stack whose Dagster refreshes one database, and a copy that is refreshed undisturbed."""

    stack: Stack
    folder: Path
    warehouse: Warehouse
    peaceful: Warehouse
    day: date = HISTORY_UNTIL

    def load_next_day(self) -> None:
        self.day += timedelta(days=1)
        assert self.day <= END, "there are no sales left: set END to a later day"
        load(self.warehouse, self.folder, self.day, self.day)

    def is_fresh(self) -> bool:
        try:
            with self.warehouse.transaction() as transaction:
                return bool(
                    transaction.value(
                        """
                        SELECT NOT EXISTS (SELECT FROM sales.changes WHERE done_at IS NULL)
                            AND NOT EXISTS (SELECT FROM sales.refreshes
                                WHERE finished_at IS NOT NULL AND scored_at IS NULL)
                            AND $1 = (SELECT count(*) FROM sales.current_forecasts
                                WHERE horizon = 1 AND origin = $2)
                        """,
                        (STORES, self.day),
                    )
                )
        except SERVERS_FAULT:
            return False

    def stores_from(self, origin: date) -> list[int]:
        """Return the stores whose newest forecasts are from this day."""
        query = "SELECT DISTINCT store FROM sales.current_forecasts WHERE origin = $1 ORDER BY 1"
        with self.warehouse.transaction() as transaction:
            return [int(store) for store in transaction.frame(query, (origin,))["store"]]


def load(warehouse: Warehouse, folder: Path, first: date, last: date) -> None:
    train = kaggle.read_train(folder)
    rows = train[train["date"].between(pd.Timestamp(first), pd.Timestamp(last))]
    loading.load(
        warehouse,
        stores=kaggle.read_stores(folder),
        sales=rows,
        plans=loading.plans_of(train, kaggle.read_test(folder), last),
        calendar=CALENDAR,
    )


@contextmanager
def in_this_process(url: str, workdir: Path) -> Iterator[Callable[..., None]]:
    """Yield a function that runs a job in this process, with an ephemeral Dagster instance."""
    from forecast_assets.definitions import defs

    with pytest.MonkeyPatch.context() as patch, dg.DagsterInstance.ephemeral() as instance:
        patch.setenv("FORECAST_DATABASE_URL", url)
        patch.setenv("SALES_CALENDAR_START", str(CALENDAR[0]))
        patch.setenv("SALES_CALENDAR_END", str(CALENDAR[1]))
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{workdir}/mlflow.db")
        patch.chdir(workdir)
        settings.cache_clear()
        repository = defs().get_repository_def()
        instance.add_dynamic_partitions("store", [str(s) for s in range(1, STORES + 1)])

        def run(job: str, backfilled: tuple[date, date] | None = None) -> None:
            first, last = backfilled or (CALENDAR[0], PERIOD)
            tags = {
                "dagster/asset_partition_range_start": f"{first}|1",
                "dagster/asset_partition_range_end": f"{last}|{STORES}",
            }
            if backfilled is None:
                tags[REFRESH_TAG] = "true"
            chosen = {"tags": tags} if job == "refresh" else {"partition_key": str(PERIOD)}
            assert repository.get_job(job).execute_in_process(instance=instance, **chosen).success

        yield run
    settings.cache_clear()


@pytest.fixture(scope="module")
def disturbed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Disturbed]:
    folder = tmp_path_factory.mktemp("refreshes")
    sample_files(STORES, DAYS, END, seed=7).write(folder / "data")
    # A stack of its own: these tests kill its services.
    with Stack.start(folder / "stack", {POSTGRES}, calendar=CALENDAR) as stack:
        url = stack.database_urls("sales")["FORECAST_DATABASE_URL"]
        warehouse = Warehouse(url)
        load(warehouse, folder / "data", date.min, HISTORY_UNTIL)
        with in_this_process(url, folder) as run:
            for job in ("refresh", "train", "refresh"):
                run(job)
        stack.postgres.create_sales_database("peaceful", template="sales")
        with stack.postgres.admin_connection() as admin:
            # Without a checkpoint, a killed server would reset the sequences of the copy.
            admin.execute("CHECKPOINT")
        stack.start_services({WEBSERVER, DAEMON})
        graphql = stack.dagster.graphql_url()
        wait(lambda: bool(store_partitions(graphql)), "the sensor to add the stores' partitions")
        peaceful = stack.database_urls("peaceful")["FORECAST_DATABASE_URL"]
        yield Disturbed(stack, folder / "data", warehouse, Warehouse(peaceful))
    stack.remove_data()


def wait(done: Callable[[], bool], what: str, seconds: float = REFRESHED_SECONDS) -> None:
    deadline = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < deadline, f"waited {seconds} s for {what}"
        time.sleep(0.1)


@contextmanager
def held_at(
    world: Disturbed,
    asset: str,
    period: date = PERIOD,
    begin: Callable[[], None] | None = None,
) -> Iterator[int]:
    """Stop a run in the middle of an asset; yield the id of the run's process.

    Args:
        world: The stack.
        asset: The asset.
        period: The month of the asset.
        begin: Function that causes the run; by default it loads a day, which causes a refresh.
    """
    key = "hashtext(%s), hashtext(%s)"
    held = psycopg.connect(world.stack.postgres.url("sales_assets", "sales"), autocommit=True)
    try:
        held.execute(f"SELECT pg_advisory_lock({key})".encode(), (SCHEMA, f"{asset} {period}"))
        (begin or world.load_next_day)()
        found: list[int] = []

        def waits() -> bool:
            # Only the superuser sees the addresses of other roles' connections.
            with world.stack.postgres.admin_connection("sales") as admin:
                found[:] = [
                    port
                    for (port,) in admin.execute(
                        "SELECT a.client_port FROM pg_locks l JOIN pg_stat_activity a USING (pid) "
                        "WHERE l.locktype = 'advisory' AND NOT l.granted"
                    ).fetchall()
                ]
            return bool(found)

        wait(waits, f"a run in {asset}")
        (pid,) = {
            connection.pid
            for connection in psutil.net_connections("tcp4")
            if connection.laddr.port == found[0] and connection.pid is not None
            # The server's end of the connection has this port as its remote one.
        }
        yield pid
    finally:
        held.close()


def run_killed(world: Disturbed) -> None:
    """Kill the process of the run."""
    with held_at(world, "features") as pid:
        os.kill(pid, signal.SIGKILL)


def dagster_killed(world: Disturbed) -> None:
    """Kill the daemon and the webserver. The run goes on, but later runs need both services."""
    with held_at(world, "store_models"):
        for service in (DAEMON, WEBSERVER):
            world.stack.kill_service(service)
    world.stack.start_services({DAEMON, WEBSERVER})


def postgres_killed(world: Disturbed) -> None:
    """Kill PostgreSQL while the run, the daemon and the webserver use it."""
    with held_at(world, "forecasts"):
        world.stack.kill_service(POSTGRES)
        time.sleep(2)
        world.stack.restart_service(POSTGRES)


def machine_killed(world: Disturbed) -> None:
    """Kill all of Dagster at once, including the run and its code server."""
    with held_at(world, "cleaned_sales") as pid:
        mine = [psutil.Process(pid)]
        for service in (DAEMON, WEBSERVER):
            record = world.stack.processes.find(service)
            assert record is not None
            process = psutil.Process(record.pid)
            mine += [process, *process.children(recursive=True)]
        for process in mine:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(mine, 10)
    for service in (DAEMON, WEBSERVER):
        world.stack.restart_service(service)


def reexecuted_from_the_middle(world: Disturbed) -> None:
    """Re-execute the last steps of a refresh while it runs."""
    url = world.stack.dagster.graphql_url()
    with held_at(world, "features"):
        (earlier,) = refreshes(url, "STARTED", 1)
        answer = graphql(
            url,
            f"""
            mutation {{ launchRunReexecution(executionParams: {{
                selector: {{ repositoryName: "__repository__",
                    repositoryLocationName: "forecast_assets", jobName: "refresh" }}
                runConfigData: {{}}, stepKeys: ["forecasts", "forecast_accuracy"],
                executionMetadata: {{
                    rootRunId: "{earlier}", parentRunId: "{earlier}",
                    tags: [
                        {{ key: "{REFRESH_TAG}", value: "true" }}
                        {{ key: "dagster/asset_partition_range_start", value: "{PERIOD}|1" }}
                        {{ key: "dagster/asset_partition_range_end", value: "{PERIOD}|{STORES}" }}
                    ] }} }}) {{
                __typename ... on LaunchRunSuccess {{ run {{ runId }} }}
                ... on PythonError {{ message }} ... on RunConflict {{ message }}
                ... on InvalidStepError {{ invalidStepKey }} }} }}
            """,
        )["launchRunReexecution"]
        assert answer["__typename"] == "LaunchRunSuccess", answer
    again = answer["run"]["runId"]
    wait(lambda: again in refreshes(url, "FAILURE", 20), "the re-executed steps to be refused")


def command_lines_killed(world: Disturbed) -> None:
    """Kill as many command lines with a run as there may be runs in progress at the same time."""
    environment = component_environment("dagster", world.stack.environment)
    command = [paths.script("dagster"), "asset", "materialize", "-m", paths.DEFINITIONS]
    command += ["--select", "features", "--partition", f"{BACKFILLED[0]}|1"]
    processes: list[subprocess.Popen[bytes]] = []

    def begin() -> None:
        processes.extend(
            subprocess.Popen(command, env=environment, cwd=paths.REPOSITORY) for _ in range(4)
        )
        wait(lambda: len(in_progress()) == len(processes), "the command lines' runs")

    def in_progress() -> list[str]:
        return runs(world.stack.dagster.graphql_url(), 'pipelineName: "__ASSET_JOB"', "STARTED", 9)

    with held_at(world, "features", BACKFILLED[0], begin):
        for process in processes:
            process.kill()
            process.wait()
    world.load_next_day()


def bad_pair_of_stores(world: Disturbed) -> None:
    """Let the rows of two stores be refused until the others are fresh."""
    with world.stack.postgres.admin_connection("sales") as admin:
        admin.autocommit = True
        admin.execute(
            "ALTER TABLE sales.features ADD CONSTRAINT bad_pair CHECK (store > 2) NOT VALID"
        )
        try:
            world.load_next_day()
            wait(lambda: world.stores_from(world.day) == [3, 4], "the good stores' forecasts")
        finally:
            admin.execute("ALTER TABLE sales.features DROP CONSTRAINT bad_pair")


def refreshes(url: str, status: str, limit: int) -> list[str]:
    """Return the run ids of the newest refreshes with a status."""
    return runs(url, f'tags: [{{key: "{REFRESH_TAG}", value: "true"}}]', status, limit)


def runs(url: str, which: str, status: str, limit: int) -> list[str]:
    found = graphql(
        url,
        f"{{ runsOrError(limit: {limit}, filter: {{ {which}, statuses: [{status}] }}) {{ "
        "... on Runs { results { runId } } } }",
    )["runsOrError"]["results"]
    return [run["runId"] for run in found]


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    "strike",
    [
        pytest.param(run_killed, marks=pytest.mark.chaos),
        pytest.param(dagster_killed, marks=pytest.mark.chaos),
        pytest.param(reexecuted_from_the_middle, marks=pytest.mark.chaos),
        pytest.param(command_lines_killed, marks=pytest.mark.chaos),
        pytest.param(bad_pair_of_stores, marks=pytest.mark.chaos),
        postgres_killed,
        machine_killed,
    ],
)
def test_a_refresh_survives(
    disturbed: Disturbed, strike: Callable[[Disturbed], None], tmp_path: Path
) -> None:
    strike(disturbed)
    wait(disturbed.is_fresh, f"forecasts from {disturbed.day}")
    load(disturbed.peaceful, disturbed.folder, disturbed.day, disturbed.day)
    with in_this_process(disturbed.peaceful._url, tmp_path) as run:
        run("refresh")
    assert_undisturbed(disturbed)


@pytest.mark.timeout(600)
def test_a_backfill_survives_the_kill_of_a_run(disturbed: Disturbed, tmp_path: Path) -> None:
    """Dagster restarts the killed run, and the backfill does not fail."""
    dagster = disturbed.stack.dagster
    keys = [f"{month}|{store}" for month in BACKFILLED for store in range(1, STORES + 1)]
    begun: list[Backfill] = []

    def begin() -> None:
        begun.append(Backfill.launch(dagster.graphql_url(), keys))

    with held_at(disturbed, "store_models", BACKFILLED[1], begin) as pid:
        os.kill(pid, signal.SIGKILL)
    wait(begun[0].is_over, "the backfill to end")
    assert begun[0].state() == "COMPLETED_SUCCESS"
    assert begun[0].runs() == {"SUCCESS": len(BACKFILLED), "FAILURE": 1}
    with in_this_process(disturbed.peaceful._url, tmp_path) as run:
        run("refresh", BACKFILLED)
    assert_undisturbed(disturbed)
    backtests = read(disturbed.warehouse, TABLES["backtests"])
    assert set(backtests["origin"].dt.date) == {date(2015, 3, 31), date(2015, 4, 30)}


def assert_undisturbed(disturbed: Disturbed) -> None:
    for table, query in TABLES.items():
        found, expected = (
            read(warehouse, query) for warehouse in (disturbed.warehouse, disturbed.peaceful)
        )
        assert len(expected) or table == "backtests", table
        pd.testing.assert_frame_equal(found, expected, obj=table)


def read(warehouse: Warehouse, query: str) -> pd.DataFrame:
    """Return the rows of a query without the columns that name the run and the time of writing."""
    with warehouse.transaction() as transaction:
        rows = transaction.frame(query)
    return rows.drop(columns=["written_at", "refresh_id", "stream_id"], errors="ignore")


def test_connections_stay_far_below_their_bounds(disturbed: Disturbed) -> None:
    disturbed.load_next_day()
    peak: Counter[str] = Counter()

    def refreshed() -> bool:
        with disturbed.stack.postgres.admin_connection("sales") as admin:
            seen = admin.execute(
                "SELECT usename, count(*) FROM pg_stat_activity "
                "WHERE backend_type = 'client backend' GROUP BY usename"
            ).fetchall()
        for role, count in seen:
            peak[role] = max(peak[role], count)
        return disturbed.is_fresh()

    wait(refreshed, f"forecasts from {disturbed.day}")
    assert {"dagster", "sales_assets"} <= peak.keys()
    for role, bound in read_access().connections.items():
        assert peak[role] <= bound / 2, (role, peak)
    assert sum(peak.values()) <= postgres.MAX_CONNECTIONS / 2, peak


def test_the_event_log_is_as_small_as_retention_assumes(disturbed: Disturbed) -> None:
    """Count only rows of materializations, because with few stores a run's other rows dominate."""
    with disturbed.stack.postgres.admin_connection("dagster") as admin:
        row = admin.execute(
            "SELECT count(*), sum(pg_column_size(e)) + count(*) * ("
            "  SELECT sum(pg_indexes_size(c.oid)) / max(n.rows) FROM pg_class c, "
            "  (SELECT count(*) AS rows FROM event_logs) n WHERE c.relname = 'event_logs') "
            "FROM event_logs e WHERE dagster_event_type = 'ASSET_MATERIALIZATION'"
        ).fetchone()
    assert row is not None
    assert row[0] > 4 * STORES
    assert row[1] / row[0] < MATERIALIZATION_BYTES
