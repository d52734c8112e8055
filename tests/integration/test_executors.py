"""Core's functions on Spark's executors: the same rows as in the run's own process."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import date

import dagster as dg
import pandas as pd
import pytest
from pyspark.sql import SparkSession

from forecast_assets.defs import executors
from forecast_assets.defs.resources import SparkResource
from forecast_assets.settings import settings
from forecasting.schemas.lean import pa
from local_stack.stack import Stack
from rossmann.sample_data import sample_files
from tests.integration.conftest import copied_database
from tests.support.chain import STORES, Chain, chain_on

MASTER = "local-cluster[2,1,1024]"
"""Two executors of one core, each a Java process of its own, with Python processes below it."""

BACKFILLED = ("2015-04-01|1", f"2015-05-01|{STORES}")

ROWS = {
    "features": """
        SELECT * FROM sales.features WHERE date BETWEEN '2015-04-01' AND '2015-05-31'
        ORDER BY store, date
        """,
    "store_models": """
        SELECT store, period_start, trained_until, n_days, residual_scale, pooled_version,
            coefficients::text, written_at
        FROM sales.models WHERE period_start < '2015-06-01' ORDER BY store, period_start
        """,
    "forecasts": "SELECT * FROM sales.forecasts_backtest ORDER BY store, origin, date",
}


@pytest.fixture(scope="module")
def chain(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chain]:
    """A chain with features throughout, and a pooled model that April and May may use."""
    folder = tmp_path_factory.mktemp("executors")
    sample_files(STORES, 300, date(2015, 6, 19), seed=3).write(folder)
    with (
        copied_database(stack) as name,
        chain_on(
            stack.database_urls(name), folder, f"sqlite:///{folder}/mlflow.db", folder
        ) as made,
    ):
        made.load(date(2015, 6, 12))
        made.refresh()
        made.train("2015-03-01")
        yield made


@pytest.fixture(autouse=True)
def small_groups(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(executors, "STORES_PER_GROUP", 2)
    yield
    settings.cache_clear()


def on_spark(monkeypatch: pytest.MonkeyPatch, from_cells: int, master: str = MASTER) -> None:
    monkeypatch.setenv("FORECAST_SPARK_FROM_CELLS", str(from_cells))
    monkeypatch.setenv("SPARK_MASTER", master)
    settings.cache_clear()


def test_executors_compute_the_same_rows_to_the_bit(
    chain: Chain, monkeypatch: pytest.MonkeyPatch
) -> None:
    chain.run("refresh", *BACKFILLED)
    here = {asset: chain.frame(query) for asset, query in ROWS.items()}

    on_spark(monkeypatch, from_cells=2 * STORES)
    result = chain.run("refresh", *BACKFILLED)
    there = {asset: chain.frame(query) for asset, query in ROWS.items()}

    said = [entry.message for entry in chain.instance.all_logs(result.run_id)]
    said = [words for words in said if MASTER in words]
    assert len(said) == len(ROWS), "each asset says where it computed"
    assert SparkSession.getActiveSession() is None, "the session ends with the run"
    for asset, rows in here.items():
        assert set(rows["store"]) == set(range(1, STORES + 1)), asset
        written = there[asset].pop("written_at")
        assert (written > rows.pop("written_at")).all(), asset
        if asset == "forecasts":
            assert set(there[asset].pop("refresh_id")) == {result.run_id}
            rows.pop("refresh_id")
            assert rows["model_version"].notna().all()
        pd.testing.assert_frame_equal(there[asset], rows, check_exact=True, obj=asset)


def test_small_ranges_and_refreshes_never_start_spark(
    chain: Chain, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The master is none that Spark knows: to start a session is to fail."""
    on_spark(monkeypatch, from_cells=1, master="nowhere")
    chain.refresh()
    assert not chain.frame("SELECT store FROM sales.forecasts_issued").empty
    on_spark(monkeypatch, from_cells=2 * STORES + 1, master="nowhere")
    chain.run("refresh", *BACKFILLED)
    on_spark(monkeypatch, from_cells=2 * STORES, master="nowhere")
    with pytest.raises(Exception, match="nowhere"):
        chain.run("refresh", *BACKFILLED)


WHERE = pa.DataFrameSchema({"store": pa.Column("int32"), "executor": pa.Column("int32")})
"""The first store of a group, and the executor's process that computed it."""


def test_groups_are_computed_in_other_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPARK_MASTER", MASTER)
    settings.cache_clear()

    def where(rows: pd.DataFrame) -> pd.DataFrame:
        import psutil

        above = [p for p in psutil.Process().parents() if "ExecutorBackend" in str(p.cmdline())]
        return pd.DataFrame({"store": [rows["store"].min()], "executor": [above[0].pid]})

    stores = pd.DataFrame({"store": range(1, 9), "date": pd.Timestamp(2015, 6, 1)})
    with dg.build_resources({"pyspark": SparkResource()}) as resources:
        spark = resources.pyspark.computing()
        assert resources.pyspark.computing() is spark, "a run has one session"
        found = executors.run_by_stores(spark, where, stores.astype({"store": "int32"}), WHERE)
    assert found["store"].tolist() == [1, 3, 5, 7]
    assert os.getpid() not in set(found["executor"])
    assert SparkSession.getActiveSession() is None
