"""The sales database: its columns, roles, migrations, and what it refuses to load."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import date, timedelta
from pathlib import Path

import pandas as pd
import psycopg
import pytest

from forecasting.schemas.columns import TABLES
from rossmann import kaggle
from tests.support.chain import CALENDAR, END, Chain
from warehouse import loading, sales
from warehouse.errors import LoadError


def test_the_columns_in_the_ui_are_the_tables(chain: Chain) -> None:
    stored = chain.frame(
        """
        SELECT c.relname AS name, a.attname AS column_name,
            format_type(a.atttypid, a.atttypmod) AS type
        FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
        WHERE c.relnamespace = 'sales'::regnamespace AND a.attnum > 0 AND NOT a.attisdropped
        """
    )
    for table, columns in TABLES.items():
        mine = stored[stored["name"] == table]
        expected = dict(zip(mine["column_name"], mine["type"], strict=True))
        assert {column.name: column.type for column in columns} == expected, table


def test_rows_outside_the_calendar_or_of_unknown_stores_are_refused(chain: Chain) -> None:
    train = kaggle.read_train(chain.folder)
    stores = kaggle.read_stores(chain.folder)

    def known(rows: pd.DataFrame) -> object:
        return loading.load(
            chain.warehouse,
            stores=stores,
            sales=rows,
            plans=train.iloc[:0],
            calendar=CALENDAR,
        )

    with pytest.raises(LoadError, match=r"outside the calendar.*2014-01-01 to 2015-08-31"):
        known(train.assign(date=train["date"] - pd.Timedelta(days=800)))
    with pytest.raises(LoadError, match="does not know"):
        known(train.assign(store=(train["store"] + 900).astype("int32")))
    assert chain.frame("SELECT * FROM sales.raw_sales").empty


def test_the_assets_role_cannot_change_what_was_issued(forecast_chain: Chain) -> None:
    for statement in (
        "DELETE FROM sales.forecasts_issued",
        "UPDATE sales.forecasts SET point = 0",
        "DELETE FROM sales.forecasts WHERE kind = 'issued'",
        "DELETE FROM sales.raw_sales",
        "UPDATE sales.forecast_accuracy SET mean = 0",
        "UPDATE sales.pooled_models SET version = 'x'",
    ):
        with (
            pytest.raises(Exception, match="permission denied"),
            forecast_chain.warehouse.transaction() as transaction,
        ):
            transaction.execute(statement)


def test_newest_days_finds_stores_that_stopped_long_ago(chain: Chain) -> None:
    train = kaggle.read_train(chain.folder)
    stopped = (train["store"] == 5) & (train["date"] > pd.Timestamp(2014, 6, 30))
    loading.load(
        chain.warehouse,
        stores=kaggle.read_stores(chain.folder),
        sales=train[~stopped],
        plans=train.iloc[:0],
        calendar=CALENDAR,
    )
    with chain.warehouse.transaction() as transaction:
        newest = sales.newest_days(transaction, "raw_sales", [1, 5, 99])
        earlier = sales.newest_days(transaction, "raw_sales", [1], until=END - timedelta(days=30))
    assert newest == {1: END, 5: date(2014, 6, 30)}
    assert earlier == {1: END - timedelta(days=30)}


def test_migrations_go_down_and_up_again(stack, fresh_database: dict[str, str]) -> None:
    environment = {**os.environ, "OWNER_DATABASE_URL": fresh_database["OWNER_DATABASE_URL"]}
    root = Path(__file__).parents[2]
    for step in (["downgrade", "base"], ["upgrade", "head"]):
        subprocess.run(
            [sys.executable, "-m", "alembic", *step], cwd=root, env=environment, check=True
        )


NEW_MONTHS = "SELECT sales.ensure_months('2031-01-01', '2031-02-28')"
#: Tables partitioned by month: raw_sales, cleaned_sales, features, forecasts issued and backtested.
BY_MONTH = 5


def test_months_are_added_beside_a_long_reading_transaction(
    fresh_database: dict[str, str],
) -> None:
    with (
        psycopg.connect(fresh_database["READER_DATABASE_URL"]) as reader,
        psycopg.connect(fresh_database["STREAM_DATABASE_URL"]) as adding,
        psycopg.connect(fresh_database["READER_DATABASE_URL"]) as late,
    ):
        for table in ("raw_sales", "cleaned_sales", "features", "forecasts"):
            reader.execute(f"SELECT count(*) FROM sales.{table}")
        # Without a time-out of its own it would wait for the reader.
        adding.execute("SET statement_timeout = '20s'")
        assert adding.execute(NEW_MONTHS).fetchone() == (2 * BY_MONTH,)
        # Not committed yet: nobody who reads or writes waits for it.
        late.execute("SET lock_timeout = '2s'")
        assert late.execute("SELECT count(*) FROM sales.raw_sales").fetchone() == (0,)
        reader.execute("SELECT count(*) FROM sales.forecasts")
        adding.commit()
        assert adding.execute(NEW_MONTHS).fetchone() == (0,)


def test_adding_months_tries_again_behind_a_transaction_that_locks_a_table(
    fresh_database: dict[str, str],
) -> None:
    with (
        psycopg.connect(fresh_database["OWNER_DATABASE_URL"]) as owner,
        psycopg.connect(fresh_database["FORECAST_DATABASE_URL"], autocommit=True) as adding,
        psycopg.connect(fresh_database["READER_DATABASE_URL"]) as reader,
        ThreadPoolExecutor(1) as pool,
    ):
        # As VACUUM and CREATE INDEX lock it.
        owner.execute("LOCK TABLE sales.features IN SHARE UPDATE EXCLUSIVE MODE")
        added = pool.submit(lambda: adding.execute(NEW_MONTHS).fetchone())
        reader.execute("SET lock_timeout = '2s'")
        for _ in range(30):
            reader.execute("SELECT count(*) FROM sales.features")
            time.sleep(0.1)
        assert not added.done()
        owner.rollback()
        assert added.result(30) == (2 * BY_MONTH,)


def test_who_finds_all_months_waits_for_nobody(fresh_database: dict[str, str]) -> None:
    with (
        psycopg.connect(fresh_database["OWNER_DATABASE_URL"]) as loading_months,
        psycopg.connect(fresh_database["STREAM_DATABASE_URL"], autocommit=True) as stream,
    ):
        stream.execute(NEW_MONTHS)
        loading_months.execute("SELECT sales.ensure_months('2032-01-01', '2032-01-01')")
        stream.execute("SET statement_timeout = '2s'")
        assert stream.execute(NEW_MONTHS).fetchone() == (0,)


def test_an_attached_month_is_like_one_that_was_made_as_a_part(
    fresh_database: dict[str, str],
) -> None:
    shape = """
        SELECT pg_get_expr(c.relpartbound, c.oid),
            (SELECT array_agg(format('%%s %%s %%s %%s', a.attname, a.atttypid::regtype,
                a.attnotnull, pg_get_expr(d.adbin, d.adrelid)) ORDER BY a.attnum)
             FROM pg_attribute a LEFT JOIN pg_attrdef d
                 ON d.adrelid = a.attrelid AND d.adnum = a.attnum
             WHERE a.attrelid = c.oid AND a.attnum > 0),
            (SELECT array_agg(regexp_replace(pg_get_indexdef(x.indexrelid),
                 'INDEX .* ON .* USING', 'USING') || EXISTS (SELECT FROM pg_inherits ii
                 WHERE ii.inhrelid = x.indexrelid) ORDER BY 1)
             FROM pg_index x WHERE x.indrelid = c.oid),
            (SELECT array_agg(pg_get_constraintdef(k.oid) ORDER BY 1)
             FROM pg_constraint k WHERE k.conrelid = c.oid),
            pg_get_userbyid(c.relowner), c.relacl::text
        FROM pg_class c WHERE c.oid = %s::regclass
    """
    with psycopg.connect(fresh_database["OWNER_DATABASE_URL"]) as owner:
        owner.execute("SELECT sales.ensure_months('2031-01-01', '2031-01-01')")
        for parent in ("raw_sales", "cleaned_sales", "features", "forecasts_issued"):
            child = f"sales.{parent}_203101"
            attached = owner.execute(shape, (child,)).fetchone()
            owner.execute(f"DROP TABLE {child}")
            owner.execute(
                f"CREATE TABLE {child} PARTITION OF sales.{parent} "
                "FOR VALUES FROM ('2031-01-01') TO ('2031-02-01')"
            )
            assert owner.execute(shape, (child,)).fetchone() == attached


def test_a_table_that_was_detached_is_named(fresh_database: dict[str, str]) -> None:
    with psycopg.connect(fresh_database["OWNER_DATABASE_URL"]) as owner:
        owner.execute(NEW_MONTHS)
        owner.execute("ALTER TABLE sales.features DETACH PARTITION sales.features_203102")
        with pytest.raises(psycopg.errors.RaiseException, match=r"sales\.features_203102 is there"):
            owner.execute(NEW_MONTHS)
