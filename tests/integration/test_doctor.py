"""The doctor on real services: it finds what a test breaks, and nothing where nothing is broken."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import psycopg
import pytest

from local_stack.doctor.databases import examine_logins, examine_schema, examine_server
from local_stack.doctor.examination import examine
from local_stack.doctor.findings import Finding, Severity
from local_stack.doctor.graph import examine_dagster
from local_stack.doctor.sales import examine_sales
from local_stack.kafka import NAME as KAFKA
from local_stack.postgres import NAME as POSTGRES
from local_stack.schema import known_revisions, migrate
from local_stack.stack import Stack
from tests.support.databases import empty_dagster_database


def bad(findings: list[Finding]) -> list[str]:
    return [f"{one.part}: {one.says}" for one in findings if one.severity is not Severity.OK]


def test_roles_logins_and_clock_of_a_new_server_are_well(stack: Stack) -> None:
    with stack.postgres.admin_connection() as admin:
        assert bad(list(examine_server(admin))) == []
        admin.execute("ALTER ROLE sales_planner NOLOGIN")
        try:
            assert bad(list(examine_server(admin))) == ["roles: sales_planner may not log in"]
            refused = list(examine_logins(stack.database_urls("sales")))
        finally:
            admin.execute("ALTER ROLE sales_planner LOGIN")
    assert len(bad(refused)) == 1
    assert bad(refused)[0].startswith("logins: PLANNER_DATABASE_URL does not let in")
    # The address has a password, and nobody wants to see it in a terminal.
    password = stack.postgres.files.credentials.passwords["sales_planner"]
    assert password not in str(refused)


def test_a_schema_that_is_behind_or_ahead_is_told(
    fresh_database: dict[str, str], tmp_path: Path
) -> None:
    known = known_revisions()
    with psycopg.connect(fresh_database["OWNER_DATABASE_URL"], autocommit=True) as owner:
        assert bad(list(examine_schema(owner))) == []
        owner.execute("UPDATE sales.alembic_version SET version_num = '9999'")
        assert "does not know" in bad(list(examine_schema(owner)))[0]
        owner.execute("DROP SCHEMA sales CASCADE")
        assert "has no tables" in bad(list(examine_schema(owner)))[0]
        migrate(fresh_database["OWNER_DATABASE_URL"], tmp_path, tmp_path / "log", to=known[0])
        (behind,) = bad(list(examine_schema(owner)))
    assert behind == f"schema: revision {known[0]}, and the code needs {known[-1]}"
    # What reads tables that are not there yet says so in one line.
    (away,) = bad(list(examine_sales(fresh_database["READER_DATABASE_URL"], None)))
    assert "does not exist" in away


def test_a_full_quarantine_and_a_dead_stream_are_told(fresh_database: dict[str, str]) -> None:
    with psycopg.connect(fresh_database["OWNER_DATABASE_URL"]) as owner:
        owner.execute("INSERT INTO sales.streams (topic, topic_uuid) VALUES ('sales', 'u')")
        owner.execute(
            "INSERT INTO sales.quarantined_events (stream_id, topic_partition, kafka_offset, "
            "event_time, reason) SELECT 1, 0, n, now(), 'not_json' FROM generate_series(1, 50) n"
        )
        owner.execute(
            "INSERT INTO sales.stream_offsets (stream_id, topic_partition, first_offset, "
            "next_offset, quarantined) VALUES (1, 0, 1, 51, 50)"
        )
        owner.execute(
            "INSERT INTO sales.stream_heartbeats (topic, state, beat_at) "
            "VALUES ('sales', 'running', now() - interval '1 hour')"
        )
    found = list(examine_sales(fresh_database["READER_DATABASE_URL"], None))
    quarantine = next(one for one in found if one.part == "quarantine")
    assert quarantine.severity is Severity.PROBLEM
    assert "50" in quarantine.says
    assert quarantine.remedy == "see docs/operations.md#manyquarantined"
    assert any(one.part == "stream" and one.severity is Severity.PROBLEM for one in found)


@dataclass
class DagsterTables:
    """A database with Dagster's tables, as its owner and as its reader."""

    owner: str
    reader: str


@pytest.fixture
def dagster_tables(stack: Stack) -> Iterator[DagsterTables]:
    from dagster_postgres import DagsterPostgresStorage

    with empty_dagster_database(stack) as name:
        tables = DagsterTables(
            stack.postgres.url("dagster", name), stack.postgres.url("dagster_reader", name)
        )
        DagsterPostgresStorage(tables.owner)
        yield tables


def test_a_stale_heartbeat_of_the_daemon_is_told(dagster_tables: DagsterTables) -> None:
    assert bad(list(examine_dagster(dagster_tables.reader))) == [
        "dagster: the daemon has never run"
    ]
    with psycopg.connect(dagster_tables.owner, autocommit=True) as owner:
        owner.execute(
            "INSERT INTO daemon_heartbeats (daemon_type, daemon_id, timestamp, body) "
            "VALUES ('SENSOR', 'x', now() AT TIME ZONE 'UTC', '{}')"
        )
        assert bad(list(examine_dagster(dagster_tables.reader))) == []
        owner.execute("UPDATE daemon_heartbeats SET timestamp = timestamp - interval '10 minutes'")
    (stale,) = list(examine_dagster(dagster_tables.reader))
    assert stale.severity is Severity.PROBLEM
    assert stale.says == "the daemon has shown no life for 10 minutes (SENSOR)"
    assert stale.remedy == "see docs/operations.md#daemondead"


@pytest.mark.timeout(600)
def test_a_killed_broker_and_a_recreated_topic_are_told(tmp_path: Path) -> None:
    with Stack.temporary(tmp_path / "stack", {POSTGRES, KAFKA}) as own:
        found = {one.part: one for one in examine(own, date(2015, 12, 31))}
        assert found[POSTGRES].severity is found[KAFKA].severity is Severity.OK
        assert found["ledger"].severity is Severity.OK
        assert found["schema"].severity is Severity.OK
        with psycopg.connect(own.postgres.url("sales_owner", "sales")) as owner:
            owner.execute(
                "INSERT INTO sales.streams (topic, topic_uuid) VALUES ('sales', 'another one')"
            )
        found = {one.part: one for one in examine(own, None)}
        assert "was recreated" in found["ledger"].says
        assert "make up NEW_TOPIC=1" in found["ledger"].remedy
        own.processes.find(KAFKA).process().kill()  # type: ignore[union-attr]
        own.processes.find(KAFKA)
        found = {one.part: one for one in examine(own, None)}
        assert found[KAFKA].severity is Severity.PROBLEM
        assert found[KAFKA].says.startswith("it has died")
        # What needs it is not asked; what does not, is.
        assert "ledger" not in found
        assert found["schema"].severity is Severity.OK
