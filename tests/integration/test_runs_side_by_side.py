"""Tests of PostgreSQL's locks: runs over the same partitions take turns, and others do not wait."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date

import dagster as dg
import pandas as pd
import psycopg
import pytest

from tests.support.chain import STORES, Chain
from warehouse.connection import SCHEMA

SECONDS = 120.0


@contextmanager
def holding(database: dict[str, str], name: str) -> Iterator[Callable[[], int]]:
    """Hold an assets' lock; yield a function that returns the number of runs waiting for a lock."""
    with psycopg.connect(database["FORECAST_DATABASE_URL"], autocommit=True) as held:
        held.execute("SELECT pg_advisory_lock(hashtext(%s), hashtext(%s))", (SCHEMA, name))

        def waiting() -> int:
            row = held.execute(
                "SELECT count(*) FROM pg_locks l JOIN pg_database d ON d.oid = l.database "
                "WHERE l.locktype = 'advisory' AND NOT l.granted AND datname = current_database()"
            ).fetchone()
            assert row is not None
            return int(row[0])

        yield waiting


class Beside(threading.Thread):
    """A run in a thread of its own, with a separate Dagster instance."""

    def __init__(self, chain: Chain, work: Callable[[Chain], object]) -> None:
        super().__init__(daemon=True)
        self._chain, self._work = chain, work
        self.error: BaseException | None = None
        self.start()

    def run(self) -> None:
        try:
            with dg.DagsterInstance.ephemeral() as instance:
                self._work(Chain(self._chain.warehouse, instance, self._chain.folder))
        except BaseException as error:  # `end` raises it in the test's thread
            self.error = error

    def end(self) -> None:
        self.join(SECONDS)
        assert not self.is_alive()
        if self.error is not None:
            raise self.error


def until(done: Callable[[], bool], *runs: Beside) -> None:
    deadline = time.monotonic() + SECONDS
    while not done():
        assert time.monotonic() < deadline
        for run in runs:
            if run.error is not None:
                raise run.error
        time.sleep(0.05)


def june(chain: Chain) -> None:
    chain.run("refresh", "2015-06-01|1", f"2015-06-01|{STORES}")


@pytest.mark.parametrize("asset", ["cleaned_sales", "features", "store_models", "forecasts"])
def test_a_refresh_and_a_run_by_hand_do_not_interleave(
    forecast_chain: Chain, forecast_database: dict[str, str], asset: str
) -> None:
    chain = forecast_chain
    for day in range(13, 20):
        chain.load_day(date(2015, 6, day))
    with holding(forecast_database, f"{asset} 2015-06-01") as waiting:
        runs = [Beside(chain, june), Beside(chain, lambda own: own.refresh())]
        until(lambda: waiting() == 2, *runs)
    for run in runs:
        run.end()
    for table, day in (("cleaned_sales", "date"), ("features", "date"), ("models", "period_start")):
        written = chain.frame(
            f"SELECT count(DISTINCT written_at) AS times, count(DISTINCT store) AS stores, "
            f"count(*) AS rows FROM sales.{table} WHERE {day} >= '2015-06-01'"
        )
        days = 19 if day == "date" else 1
        assert written.to_dict("records") == [
            {"times": 1, "stores": STORES, "rows": STORES * days}
        ], table
    forecasts = chain.frame("SELECT * FROM sales.current_forecasts ORDER BY store, date")
    assert len(forecasts) == STORES * 42
    assert set(forecasts["origin"].dt.date) == {date(2015, 6, 19)}


def test_a_long_backfill_of_old_months_does_not_hold_up_a_refresh(
    forecast_chain: Chain, forecast_database: dict[str, str]
) -> None:
    chain = forecast_chain

    def old_months(own: Chain) -> None:
        own.run("refresh", "2014-06-01|1", f"2015-05-01|{STORES}")

    chain.load_day(date(2015, 6, 13))
    with holding(forecast_database, "features 2014-10-01") as waiting:
        backfill = Beside(chain, old_months)
        until(lambda: waiting() == 1, backfill)
        chain.refresh()
        newest = chain.frame("SELECT DISTINCT origin FROM sales.current_forecasts")
        assert newest["origin"].tolist() == [pd.Timestamp(2015, 6, 13)]
        assert waiting() == 1, "the backfill should still wait in the middle of its months"
        assert backfill.is_alive()
    backfill.end()
    backtests = chain.frame("SELECT DISTINCT origin FROM sales.forecasts_backtest")
    assert backtests["origin"].dt.to_period("M").nunique() == 12
