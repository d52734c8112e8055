"""A refresh of what changed gives what a computation from nothing gives, over random histories."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from forecast_assets.steps import store_fitting
from local_stack.stack import Stack
from rossmann import kaggle
from tests.support.chain import CALENDAR, STORES, Chain, chain_on
from tests.support.databases import copied_database
from warehouse import loading
from warehouse.errors import UnreachableError

#: The months whose backtests exist, the first of them from before the first training, and the
#: last month with sales.
BACKTESTED, CURRENT = ("2015-04-01", "2015-05-01"), "2015-06-01"
STARTED = date(2015, 6, 5)
STEPS = 5
#: Share of the refreshes that die before they have fitted models, and are tried again.
FAILING = 0.4

TABLES = {
    "cleaned_sales": "SELECT * FROM sales.cleaned_sales ORDER BY store, date",
    "features": "SELECT * FROM sales.features ORDER BY store, date",
    "models": (
        "SELECT store, period_start, trained_until, pooled_version, n_days, residual_scale, "
        "coefficients::text AS coefficients FROM sales.models ORDER BY store, period_start"
    ),
    "backtests": "SELECT * FROM sales.forecasts_backtest ORDER BY store, origin, date",
    "current": "SELECT * FROM sales.current_forecasts ORDER BY store, date",
    "accuracy": (
        "SELECT * FROM sales.forecast_accuracy WHERE kind = 'backtest' "
        "ORDER BY store, origin, date, lead_week"
    ),
}
#: Whether models were fitted before there was a pooled one, or after.
ALONE = "SELECT DISTINCT pooled_version IS NULL AS alone FROM sales.models"
#: Columns that name the run or the time.
MARKS = ["written_at", "refresh_id", "kind", "stream_id", "kafka_offset", "scored_at"]


@pytest.fixture(scope="module")
def backtested(
    stack: Stack, kaggle_files: Path, mlflow_uri: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """A database with a champion, forecasts in force and two months of backtests."""
    workdir = tmp_path_factory.mktemp("backtested")
    with copied_database(stack) as name:
        with chain_on(stack.database_urls(name), kaggle_files, mlflow_uri, workdir) as chain:
            chain.load(STARTED)
            chain.refresh()
            chain.train(BACKTESTED[-1])
            chain.refresh()
            chain.run("refresh", f"{BACKTESTED[0]}|1", f"{BACKTESTED[-1]}|{STORES}")
            assert set(chain.frame(ALONE)["alone"]) == {False, True}
        yield name


class History:
    """Random events of a chain of stores, each later than the one before."""

    def __init__(self, chain: Chain, seed: int) -> None:
        self.chain, self.random = chain, np.random.default_rng(seed)
        self.train = kaggle.read_train(chain.folder)
        self.stores = kaggle.read_stores(chain.folder)
        self.newest = STARTED
        self.now = datetime(2015, 9, 1, tzinfo=UTC)

    def step(self) -> str:
        """Let something happen; return what."""
        events = [self.new_day, self.correction, self.closure, self.plan, self.promo]
        return events[self.random.integers(len(events))]()

    def new_day(self) -> str:
        self.newest += timedelta(days=1)
        rows = self.train[self.train["date"] == pd.Timestamp(self.newest)]
        some = rows.sample(frac=0.7, random_state=int(self.random.integers(1000)))
        self._load(some)
        return f"{len(some)} stores' sales of {self.newest}"

    def correction(self) -> str:
        rows = self._days(1).assign(sales=lambda days: np.round(days["sales"] * 2 + 10), open=1)
        self._load(rows)
        return f"a correction of store {rows['store'].iloc[0]} on {rows['date'].iloc[0]:%F}"

    def closure(self) -> str:
        length = int(self.random.integers(1, 15))
        rows = self._days(length).assign(sales=0.0, customers=0.0, open=0, promo=0)
        self._load(rows)
        return (
            f"store {rows['store'].iloc[0]} was closed {length} days from {rows['date'].iloc[0]:%F}"
        )

    def promo(self) -> str:
        rows = self._days(3)
        rows["promo"] = 1 - rows["promo"]
        self._load(rows)
        return f"other promos of store {rows['store'].iloc[0]} from {rows['date'].iloc[0]:%F}"

    def plan(self) -> str:
        store = int(self.random.integers(1, STORES + 1))
        first = self.newest + timedelta(days=int(self.random.integers(1, 30)))
        days = pd.date_range(first, periods=int(self.random.integers(1, 12)))
        plan = pd.DataFrame({"store": np.int32(store), "date": days, "open": 0, "promo": 0}).assign(
            state_holiday="0", school_holiday=0
        )
        self._load(self.train.iloc[:0], plan)
        return f"store {store} will be closed {len(days)} days from {first}"

    def _days(self, length: int) -> pd.DataFrame:
        """Some days of one store, within the months that have been computed, or before them."""
        store = self.random.integers(1, STORES + 1)
        first = self.newest - timedelta(days=int(self.random.integers(0, 120)))
        last = min(first + timedelta(days=length - 1), self.newest)
        inside = self.train["date"].between(pd.Timestamp(first), pd.Timestamp(last))
        return self.train[inside & (self.train["store"] == store)].copy()

    def _load(self, sales: pd.DataFrame, plans: pd.DataFrame | None = None) -> None:
        self.now += timedelta(hours=1)
        loading.load(
            self.chain.warehouse,
            stores=self.stores,
            sales=sales,
            plans=self.train.iloc[:0] if plans is None else plans,
            as_of=self.now,
            calendar=CALENDAR,
        )


def snapshot(chain: Chain) -> dict[str, pd.DataFrame]:
    tables = {name: chain.frame(query) for name, query in TABLES.items()}
    return {
        name: rows.drop(columns=[mark for mark in MARKS if mark in rows])
        for name, rows in tables.items()
    }


def database_is_away(*_: object, **__: object) -> None:
    raise UnreachableError("no answer")


@pytest.mark.parametrize(
    "seed", [0, 1, *(pytest.param(seed, marks=pytest.mark.chaos) for seed in range(2, 12))]
)
def test_refreshes_equal_a_computation_from_nothing(
    stack: Stack,
    backtested: str,
    kaggle_files: Path,
    mlflow_uri: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    seed: int,
) -> None:
    with (
        copied_database(stack, backtested) as name,
        chain_on(stack.database_urls(name), kaggle_files, mlflow_uri, tmp_path) as chain,
    ):
        history = History(chain, seed)
        told = []
        for _ in range(STEPS):
            told.append(history.step())
            if history.random.random() < FAILING:
                told.append("a refresh that died after it had written features")
                with monkeypatch.context() as patch, pytest.raises(UnreachableError):
                    patch.setattr(store_fitting, "fit_period", database_is_away)
                    chain.refresh()
            chain.refresh()
        after = snapshot(chain)

        # From nothing: everything is requested, so nothing that was there before is kept.
        chain.run("refresh", "2014-01-01|1", f"{CURRENT}|{STORES}")
        full = snapshot(chain)

    months = [pd.Timestamp(month) for month in (*BACKTESTED, CURRENT)]
    for table in ("cleaned_sales", "features"):
        pd.testing.assert_frame_equal(after[table], full[table], obj=f"{table} after {told}")
    models = full["models"][full["models"]["period_start"].isin(months)]
    kept = after["models"][after["models"]["period_start"].isin(months)]
    pd.testing.assert_frame_equal(
        kept.reset_index(drop=True), models.reset_index(drop=True), obj=f"models after {told}"
    )
    end = pd.Timestamp(BACKTESTED[-1]) + pd.offsets.MonthEnd()
    begin = pd.Timestamp(BACKTESTED[0])
    for table in ("backtests", "accuracy"):
        inside = full[table]["origin"].between(begin, end)
        pd.testing.assert_frame_equal(
            after[table], full[table][inside].reset_index(drop=True), obj=f"{table} after {told}"
        )
    newest = full["backtests"][full["backtests"]["origin"] > end].reset_index(drop=True)
    pd.testing.assert_frame_equal(after["current"], newest, obj=f"in force after {told}")
