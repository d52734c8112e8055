"""Connections are kept between statements and transactions; lost ones are replaced."""

from pathlib import Path

import dagster as dg
import psycopg
import pytest

from local_stack import network, paths
from local_stack.stack import Stack
from warehouse.connection import Warehouse
from warehouse.errors import UnreachableError


def _end_connections(stack: Stack, role: str) -> int:
    """Ends what a role has open, as a restart of PostgreSQL would; returns how many there were."""
    with stack.postgres.admin_connection("postgres") as connection:
        rows = connection.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE usename = %s",
            (role,),
        ).fetchall()
    return len(rows)


def _backend(warehouse: Warehouse) -> int:
    with warehouse.transaction() as transaction:
        return int(transaction.value("SELECT pg_backend_pid()"))


def test_transactions_one_after_another_share_a_connection(
    fresh_database: dict[str, str],
) -> None:
    warehouse = Warehouse(fresh_database["FORECAST_DATABASE_URL"])
    assert _backend(warehouse) == _backend(warehouse)
    with warehouse.transaction() as first:
        assert first.value("SELECT pg_backend_pid()") != _backend(warehouse), "two at a time"


def test_a_transaction_that_failed_leaves_nothing_behind(fresh_database: dict[str, str]) -> None:
    warehouse = Warehouse(fresh_database["FORECAST_DATABASE_URL"])
    with pytest.raises(RuntimeError), warehouse.transaction() as transaction:
        transaction.execute("SET application_name = 'left behind'")
        transaction.execute("CREATE TEMPORARY TABLE left_behind (number integer)")
        raise RuntimeError
    with warehouse.transaction() as transaction:
        assert transaction.value("SELECT to_regclass('pg_temp.left_behind') IS NULL")


def test_a_lost_connection_is_replaced(stack: Stack, fresh_database: dict[str, str]) -> None:
    warehouse = Warehouse(fresh_database["FORECAST_DATABASE_URL"])
    before = _backend(warehouse)
    assert _end_connections(stack, "sales_assets")
    assert _backend(warehouse) != before


def test_a_database_that_is_away_is_said_in_one_line() -> None:
    url = f"postgresql://nobody@127.0.0.1:{network.free_ports(1)[0]}/sales"
    with pytest.raises(UnreachableError, match="does not answer"):
        _backend(Warehouse(url))


def test_dagster_keeps_its_connections_and_replaces_lost_ones(
    stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DAGSTER_POSTGRES_URL", stack.environment["DAGSTER_POSTGRES_URL"])
    (tmp_path / "dagster.yaml").symlink_to(paths.REPOSITORY / "dagster.yaml")
    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        instance.get_runs(limit=1)
        with psycopg.connect(stack.environment["DAGSTER_POSTGRES_URL"]) as watching:

            def opened() -> set[int]:
                rows = watching.execute(
                    "SELECT pid FROM pg_stat_activity "
                    "WHERE usename = current_user AND pid <> pg_backend_pid()"
                ).fetchall()
                watching.rollback()
                return {pid for (pid,) in rows}

            first = opened()
            for _ in range(5):
                instance.get_runs(limit=1)
                instance.add_dynamic_partitions("test_connections", ["1"])
            assert first & opened(), "the connection for runs is kept"
            assert len(opened() - first) <= 1, "one more, for events"
        assert _end_connections(stack, "dagster")
        assert instance.get_dynamic_partitions("test_connections") == ["1"]
        instance.get_runs(limit=1)
