"""The exporter on real databases: what it says, what it may see, and what it says without them."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from datetime import UTC, date, datetime

import psycopg
import pytest
from dagster import DagsterRun, DagsterRunStatus
from dagster._core.definitions.run_request import InstigatorType
from dagster._core.remote_origin import (
    GrpcServerCodeLocationOrigin,
    RemoteInstigatorOrigin,
    RemoteJobOrigin,
    RemoteRepositoryOrigin,
)
from dagster._core.scheduler.instigation import (
    InstigatorState,
    InstigatorStatus,
    SensorInstigatorData,
    TickData,
    TickStatus,
)
from dagster._daemon.types import DaemonHeartbeat
from dagster._utils.error import SerializableErrorInfo
from dagster_postgres import DagsterPostgresStorage
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from forecast_assets.monitoring.dagster_metrics import DagsterSource
from forecast_assets.monitoring.sales_metrics import SalesSource
from forecast_assets.monitoring.sources import StackCollector
from forecast_assets.settings import settings
from forecast_assets.steps.health import find_problems
from local_stack.stack import Stack
from tests.support.chain import STORES, Chain
from tests.support.databases import empty_dagster_database

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def scrape(registry: CollectorRegistry) -> Samples:
    text = generate_latest(registry).decode()
    families = list(text_string_to_metric_families(text))
    assert len({family.name for family in families}) == len(families), "a name appears twice"
    labels = {name for family in families for sample in family.samples for name in sample.labels}
    assert not labels & {"job", "instance"}, "Prometheus sets these, and renames a target's own"
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in families
        for sample in family.samples
    }


def value(samples: Samples, sample: str, /, **labels: str) -> float | None:
    return samples.get((sample, frozenset(labels.items())))


def names(samples: Samples) -> set[str]:
    return {name for name, _ in samples}


@pytest.fixture
def dagster_database(stack: Stack) -> Iterator[str]:
    """A database of Dagster's own, empty but for what the reader may ask."""
    with empty_dagster_database(stack) as name:
        yield name


@pytest.fixture
def dagster_storage(stack: Stack, dagster_database: str) -> DagsterPostgresStorage:
    """Dagster's tables, made by Dagster."""
    return DagsterPostgresStorage(stack.postgres.url("dagster", dagster_database))


def registry_of(*sources: SalesSource | DagsterSource) -> CollectorRegistry:
    registry = CollectorRegistry()
    registry.register(StackCollector(sources))
    return registry


def test_verdicts_are_those_of_the_checks(
    forecast_chain: Chain, forecast_database: dict[str, str]
) -> None:
    with psycopg.connect(forecast_database["OWNER_DATABASE_URL"], autocommit=True) as owner:
        owner.execute(
            "INSERT INTO sales.stream_heartbeats (topic, state, beat_at, lag_events) "
            "VALUES ('sales', 'running', now() - interval '1 hour', 7)"
        )
        owner.execute(
            "INSERT INTO sales.changes (kind, made_at, stores, first_days) "
            "VALUES ('stream', now() - interval '2 hours', '{2}', '{2015-06-12}')"
        )
    with forecast_chain.warehouse.transaction() as transaction:
        found = {p.rule.value: len(p.subjects) for p in find_problems(transaction, settings())}
    source = SalesSource(forecast_database["READER_DATABASE_URL"], settings())
    samples = scrape(registry_of(source))
    told = {
        dict(labels)["rule"]: number
        for (name, labels), number in samples.items()
        if name == "forecast_problem" and number
    }
    assert told == found
    assert set(found) == {"late", "stream"}
    assert value(samples, "forecast_stores", state="active") == STORES
    assert value(samples, "forecast_stores", state="late") == 1
    assert value(samples, "forecast_open_changes") == 1
    opened = value(samples, "forecast_oldest_open_change_timestamp_seconds")
    assert opened is not None and 7_100 < time.time() - opened < 7_500
    assert value(samples, "stream_waiting_events", topic="sales") == 7
    assert value(samples, "stream_state", topic="sales", state="running") == 1
    origin = value(samples, "forecast_newest_origin_timestamp_seconds")
    assert origin == datetime(2015, 6, 12, tzinfo=UTC).timestamp()
    assert value(samples, "forecast_delay_seconds", kind="file", quantile="0.5") is not None
    assert "forecast_champion_created_timestamp_seconds" in names(samples)
    assert value(samples, "database_connection_limit", role="sales_reader") == 20


def test_accuracy_is_read_beside_the_scrapes(
    forecast_chain: Chain, forecast_database: dict[str, str]
) -> None:
    forecast_chain.load_day(date(2015, 6, 13))
    forecast_chain.refresh()
    source = SalesSource(forecast_database["READER_DATABASE_URL"], settings())
    registry = registry_of(source)
    assert "forecast_wape" not in names(scrape(registry))
    source.accuracy.wait(60)
    samples = scrape(registry)
    wape = value(samples, "forecast_wape", lead_week="all")
    assert wape is not None and 0 < wape < 1
    assert value(samples, "forecast_wape", lead_week="1") == wape
    assert value(samples, "forecast_scored_forecasts", kind="issued") == STORES
    for level in ("80", "95"):
        share = value(samples, "forecast_coverage", lead_week="all", level=level)
        assert share is not None and 0 <= share <= 1
    skill = value(samples, "forecast_skill", lead_week="all")
    assert skill is not None and skill < 1
    assert value(samples, "forecast_adjusted_days", reason="all") == 0


def test_a_database_that_is_away_gives_no_numbers(
    stack: Stack, forecast_chain: Chain, forecast_database: dict[str, str]
) -> None:
    source = SalesSource(forecast_database["READER_DATABASE_URL"], settings())
    registry = registry_of(source)
    scrape(registry)
    source.accuracy.wait(60)
    assert value(scrape(registry), "forecast_database_up", database="sales") == 1
    name = forecast_database["READER_DATABASE_URL"].rsplit("/", 1)[1]
    with stack.postgres.admin_connection() as admin:

        def allow(allowed: str) -> None:
            admin.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS {allowed}'.encode())
            admin.execute(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = %s",
                (name,),
            )

        allow("false")
        samples = scrape(registry)
        allow("true")
    assert value(samples, "forecast_database_up", database="sales") == 0
    assert names(samples) == {"forecast_database_up", "forecast_database_read_seconds"}
    assert value(scrape(registry), "forecast_database_up", database="sales") == 1


def test_dagster_is_read_from_its_own_tables(
    stack: Stack, dagster_database: str, dagster_storage: DagsterPostgresStorage
) -> None:
    runs, now = dagster_storage.run_storage, time.time()
    repository = RemoteRepositoryOrigin(GrpcServerCodeLocationOrigin("localhost", 1), "all")
    for job, status in (
        ("refresh", DagsterRunStatus.QUEUED),
        ("refresh", DagsterRunStatus.SUCCESS),
        ("refresh", DagsterRunStatus.FAILURE),
        ("train", DagsterRunStatus.SUCCESS),
    ):
        runs.add_run(
            DagsterRun(
                job, str(uuid.uuid4()), status=status,
                remote_job_origin=RemoteJobOrigin(repository, job),
            )
        )  # fmt: skip
    runs.add_daemon_heartbeat(DaemonHeartbeat(now - 600, "SENSOR", "daemon", errors=[]))
    origin = RemoteInstigatorOrigin(repository, "alerts")
    state = InstigatorState(
        origin, InstigatorType.SENSOR, InstigatorStatus.RUNNING, SensorInstigatorData()
    )
    dagster_storage.schedule_storage.add_instigator_state(state)
    off = InstigatorState(
        RemoteInstigatorOrigin(repository, "off"),
        InstigatorType.SENSOR,
        InstigatorStatus.STOPPED,
        SensorInstigatorData(),
    )
    dagster_storage.schedule_storage.add_instigator_state(off)
    error = SerializableErrorInfo("the webhook does not answer", [], None)
    for status, ago, why in ((TickStatus.FAILURE, 60, error), (TickStatus.SKIPPED, 30, None)):
        dagster_storage.schedule_storage.create_tick(
            TickData(
                origin.get_id(), "alerts", InstigatorType.SENSOR, status, now - ago,
                error=why, selector_id=state.selector_id,
            )
        )  # fmt: skip
    source = DagsterSource(stack.postgres.url("dagster_reader", dagster_database))
    samples = scrape(registry_of(source))
    source.close()
    assert value(samples, "forecast_database_up", database="dagster") == 1
    assert value(samples, "dagster_runs", dagster_job="refresh", status="QUEUED") == 1
    assert value(samples, "dagster_open_runs", status="QUEUED") == 1
    assert value(samples, "dagster_open_runs", status="STARTED") == 0
    assert value(samples, "dagster_ended_runs", dagster_job="refresh", status="SUCCESS") == 1
    assert value(samples, "dagster_newest_run_failed", dagster_job="refresh") == 1
    assert value(samples, "dagster_newest_run_failed", dagster_job="train") == 0
    oldest = value(
        samples, "dagster_oldest_run_timestamp_seconds", dagster_job="refresh", status="QUEUED"
    )
    assert oldest is not None and abs(oldest - now) < 60
    beat = value(samples, "dagster_daemon_heartbeat_timestamp_seconds", daemon="SENSOR")
    assert beat is not None and abs(beat - (now - 600)) < 1
    assert value(samples, "dagster_switched_off", name="off", type="SENSOR") == 1
    assert value(samples, "dagster_switched_off", name="alerts", type="SENSOR") is None
    ticks = {"name": "alerts", "type": "SENSOR"}
    assert value(samples, "dagster_ticks", **ticks, status="FAILURE") == 1
    assert value(samples, "dagster_ticks", **ticks, status="SKIPPED") == 1
    newest = value(samples, "dagster_newest_tick_timestamp_seconds", **ticks)
    assert newest is not None and abs(newest - (now - 30)) < 1


def test_a_dagster_that_never_started_is_no_healthy_one(
    stack: Stack, dagster_database: str, caplog: pytest.LogCaptureFixture
) -> None:
    source = DagsterSource(stack.postgres.url("dagster_reader", dagster_database))
    registry = registry_of(source)
    for _ in range(2):
        samples = scrape(registry)
        assert value(samples, "forecast_database_up", database="dagster") == 0
        assert names(samples) == {"forecast_database_up", "forecast_database_read_seconds"}
    source.close()
    told = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert len(told) == 1
    assert "start its webserver or daemon" in told[0]


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT run_body FROM runs",
        "SELECT count(*) FROM event_logs",
        "SELECT value FROM kvs",
        "INSERT INTO runs (run_id) VALUES ('mine')",
        "CREATE TABLE public.mine ()",
        "CREATE TABLE monitoring.mine ()",
        "CREATE TEMPORARY TABLE mine ()",
        "SELECT pg_advisory_lock(1)",
        "SELECT lo_create(0)",
    ],
)
def test_the_reader_of_dagster_asks_and_does_nothing_else(
    stack: Stack, dagster_database: str, dagster_storage: DagsterPostgresStorage, statement: str
) -> None:
    del dagster_storage
    with (
        psycopg.connect(stack.postgres.url("dagster_reader", dagster_database)) as connection,
        pytest.raises(psycopg.errors.InsufficientPrivilege),
    ):
        connection.execute(statement.encode())
