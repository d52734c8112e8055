"""The sales database: its columns, roles, migrations, and what it refuses to load."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import date, timedelta
from pathlib import Path

import pandas as pd
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
