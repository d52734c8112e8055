"""A backtest is a backfill: of whole partitions, or from any day that a run keeps to."""

from datetime import UTC, date, datetime

import dagster as dg
import pandas as pd
import pytest

from forecast_assets.defs.checks import no_future_data
from forecast_assets.defs.resources import WarehouseResource
from rossmann import kaggle
from tests.support.chain import CALENDAR, STORES, Chain
from warehouse import loading

APRIL = ("2015-04-01|1", f"2015-04-01|{STORES}")
DAYS = {"first_day": "2015-04-10", "last_day": "2015-04-20"}
TABLES = {
    "cleaned_sales": "store, date",
    "features": "store, date",
    "models": "period_start, store",
    "forecasts_backtest": "store, origin, date",
    "forecast_accuracy": "kind, store, date, lead_week, origin, model_version",
}


def rows(chain: Chain) -> dict[str, pd.DataFrame]:
    """What the assets hold, without who wrote it and when."""
    return {
        table: chain.frame(f"SELECT * FROM sales.{table} ORDER BY {key}").drop(
            columns=["written_at", "refresh_id"], errors="ignore"
        )
        for table, key in TABLES.items()
    }


def assert_same(found: dict[str, pd.DataFrame], expected: dict[str, pd.DataFrame]) -> None:
    for table, before in expected.items():
        pd.testing.assert_frame_equal(found[table], before, obj=table)


def written_days(chain: Chain, table: str, since: object) -> set[date]:
    query = f"SELECT date, written_at FROM sales.{table}"
    return {row.date.date() for row in chain.frame(query).itertuples() if row.written_at > since}


def test_a_run_keeps_to_the_days_in_its_config(forecast_chain: Chain) -> None:
    chain = forecast_chain
    chain.train("2015-03-01")
    chain.run("refresh", *APRIL)
    usual = rows(chain)
    before = chain.frame("SELECT max(written_at) AS at FROM sales.features")["at"].item()

    result = chain.run("refresh", *APRIL, only_days=DAYS)
    for table in ("cleaned_sales", "features"):
        days = written_days(chain, table, before)
        assert days == {date(2015, 4, day) for day in range(10, 21)}, table
        pd.testing.assert_frame_equal(rows(chain)[table], usual[table])
    narrow = rows(chain)
    backtest = narrow["forecasts_backtest"]
    assert set(backtest["origin"].dt.date) == {date(2015, 4, 20)}, "it replaces the usual one"
    assert len(backtest) == 42 * STORES
    assert set(backtest["model_version"].str[:10]) == {"2015-03-31"}
    april = narrow["models"][narrow["models"]["period_start"] == "2015-04-01"]
    assert set(april["trained_until"].dt.date) == {date(2015, 4, 20)}
    scores = narrow["forecast_accuracy"]
    assert set(scores.loc[scores["kind"] == "backtest", "origin"].dt.date) == {date(2015, 4, 20)}
    assert no_future_data(WarehouseResource()).passed
    assert chain.materialized(result.run_id)["cleaned_sales"]["2015-04-01|1"] == 11

    # All that came later is turned upside down; the plan (openings, promos) stays.
    train = kaggle.read_train(chain.folder)
    later = train[train["date"] > pd.Timestamp(2015, 4, 20)]
    loading.load(
        chain.warehouse,
        stores=kaggle.read_stores(chain.folder),
        sales=later.assign(sales=later["sales"] * 7),
        plans=train.iloc[:0],
        as_of=datetime(2016, 1, 1, tzinfo=UTC),
        calendar=CALENDAR,
    )
    chain.refresh()
    refreshed = rows(chain)["models"]
    stale = refreshed[refreshed["period_start"] == "2015-04-01"]
    assert set(stale["trained_until"].dt.date) == {date(2015, 4, 20)}, "it saw nothing that changed"
    chain.run("refresh", *APRIL, only_days=DAYS)
    pd.testing.assert_frame_equal(rows(chain)["forecasts_backtest"], backtest)

    loading.load(
        chain.warehouse,
        stores=kaggle.read_stores(chain.folder),
        sales=later,
        plans=train.iloc[:0],
        as_of=datetime(2016, 2, 1, tzinfo=UTC),
        calendar=CALENDAR,
    )
    chain.refresh()
    chain.run("refresh", *APRIL)
    for table in ("models", "forecasts_backtest"):
        again = rows(chain)[table]
        expected = usual[table]
        if table == "models":
            again = again[again["period_start"] == "2015-04-01"].reset_index(drop=True)
            expected = expected[expected["period_start"] == "2015-04-01"].reset_index(drop=True)
        pd.testing.assert_frame_equal(again, expected, obj=table)


def test_days_may_span_partitions_and_leave_some_out(forecast_chain: Chain) -> None:
    chain = forecast_chain
    days = {"first_day": "2015-03-20", "last_day": "2015-04-10"}
    asked = ("2015-03-01|2", "2015-05-01|2")
    result = chain.run("refresh", *asked, only_days=days)
    for asset, found in chain.materialized(result.run_id).items():
        assert found.keys() == {"2015-03-01|2", "2015-04-01|2"}, asset
    once = rows(chain)
    assert set(once["forecasts_backtest"]["origin"].dt.date) == {
        date(2015, 3, 31), date(2015, 4, 10),
    }  # fmt: skip
    chain.run("refresh", *asked, only_days=days)
    assert_same(rows(chain), once)


def test_days_that_make_no_sense_are_refused(forecast_chain: Chain) -> None:
    for days, error, message in (
        (
            {"first_day": "2015-04-20", "last_day": "2015-04-10"},
            dg.DagsterInvalidConfigError,
            "2015-04-10 is before the first",
        ),
        ({"first_day": "2015-04-31"}, dg.DagsterInvalidConfigError, "Write it as 2015-05-10"),
        (
            {"first_day": "2015-05-01"},
            dg.Failure,
            "2015-04-01 to 2015-04-30, hold no day from 2015-05-01",
        ),
    ):
        runs = forecast_chain.instance.get_runs_count()
        with pytest.raises(error, match=message):
            forecast_chain.run("refresh", *APRIL, only_days=days)
        began = forecast_chain.instance.get_runs_count() - runs
        assert began == (error is dg.Failure), "bad config is refused before a run exists"
    with pytest.raises(dg.Failure, match="range is empty: its end is before its start"):
        forecast_chain.run("refresh", "2015-04-01|3", "2015-04-01|1")
    forecast_chain.run("refresh", *APRIL)
    with pytest.raises(dg.Failure, match="materialize store_models together with forecasts"):
        forecast_chain.repository.get_job("__ASSET_JOB").get_subset(
            asset_selection={dg.AssetKey("forecasts")}
        ).execute_in_process(
            instance=forecast_chain.instance,
            partition_key="2015-04-01|1",
            run_config={"resources": {"only_days": {"config": DAYS}}},
        )


def test_a_refresh_computes_what_changed_whatever_days_are_named(forecast_chain: Chain) -> None:
    chain = forecast_chain
    chain.load_day(date(2015, 6, 13))
    chain.run("refresh", "2015-06-01|1", f"2015-06-01|{STORES}", refresh=True, only_days=DAYS)
    newest = chain.frame("SELECT DISTINCT origin FROM sales.current_forecasts")
    assert newest["origin"].dt.date.tolist() == [date(2015, 6, 13)]


def test_a_backtest_twice_gives_the_same_rows_also_of_a_store_that_was_closed(chain: Chain) -> None:
    train = kaggle.read_train(chain.folder)
    closed = (train["store"] == 5) & train["date"].between("2015-04-01", "2015-05-15")
    loading.load(
        chain.warehouse,
        stores=kaggle.read_stores(chain.folder),
        sales=train[~closed],
        plans=train.iloc[:0],
        calendar=CALENDAR,
    )
    chain.refresh()
    chain.train("2015-02-01")
    chain.run("refresh", "2015-03-01|1", f"2015-05-01|{STORES}")
    once = rows(chain)
    backtest = once["forecasts_backtest"]
    assert not backtest.duplicated(["store", "origin", "date"]).any()
    months = backtest[backtest["store"] == 5]["origin"].dt.month
    assert set(months) == {3, 5}, "in April it sold nothing to be forecast from"
    chain.run("refresh", "2015-03-01|1", f"2015-05-01|{STORES}")
    assert_same(rows(chain), once)
    chain.run("refresh", "2015-04-01|5")
    assert_same(rows(chain), once)


def test_a_past_partition_is_a_backtest_that_sees_no_future(forecast_chain: Chain) -> None:
    chain = forecast_chain
    chain.train("2015-03-01")
    chain.run("refresh", "2015-04-01|1", f"2015-04-01|{STORES}")
    backtest = "SELECT * FROM sales.forecasts_backtest ORDER BY store, date"
    first = chain.frame(backtest)
    assert set(first["origin"].dt.date) == {date(2015, 4, 30)}
    assert set(first["model_version"].str[:10]) == {"2015-03-31"}, "not the champion of June"
    assert len(first) == 42 * STORES

    # All that came later is turned upside down; the plan (openings, promos) stays.
    train = kaggle.read_train(chain.folder)
    later = train[train["date"] > pd.Timestamp(2015, 4, 30)].copy()
    later["sales"] = later["sales"] * 7
    loading.load(
        chain.warehouse,
        stores=kaggle.read_stores(chain.folder),
        sales=later,
        plans=train.iloc[:0],
        as_of=datetime(2016, 1, 1, tzinfo=UTC),
        calendar=CALENDAR,
    )
    chain.run("refresh", "2015-05-01|1", f"2015-06-01|{STORES}", refresh=True)
    chain.run("refresh", "2015-04-01|1", f"2015-04-01|{STORES}")
    second = chain.frame(backtest)
    same = [name for name in first if name not in ("refresh_id", "written_at")]
    pd.testing.assert_frame_equal(first[same], second[same])
    assert set(second["refresh_id"]) != set(first["refresh_id"]), "it was computed again"


def materialize(
    chain: Chain, asset: str, first: str, last: str | None = None
) -> dg.ExecuteInProcessResult:
    """Materialize one asset alone, as its button in the UI does."""
    job = chain.repository.get_job("__ASSET_JOB").get_subset(asset_selection={dg.AssetKey(asset)})
    tags = {
        "dagster/asset_partition_range_start": first,
        "dagster/asset_partition_range_end": last or first,
    }
    return job.execute_in_process(instance=chain.instance, tags=tags, raise_on_error=False)


def failure_of(result: dg.ExecuteInProcessResult) -> str:
    """Return the description of a failed step; empty if the run succeeded."""
    failed = [event for event in result.all_events if event.is_step_failure]
    if not failed:
        assert result.success
        return ""
    data = failed[0].step_failure_data
    assert data.user_failure_data is not None, data.error_display_string
    return str(data.user_failure_data.description)


def test_an_asset_whose_upstream_is_missing_says_so_and_is_not_green(chain: Chain) -> None:
    """Nothing is computed from nothing, and what was there before stays."""
    chain.load(date(2015, 6, 12))
    for asset, upstream, missing in (
        ("features", "cleaned_sales", None),
        ("store_models", "features", "cleaned_sales"),
        ("forecasts", "store_models", "features"),
        ("forecast_accuracy", "forecasts", "store_models"),
    ):
        result = materialize(chain, asset, *APRIL)
        told = failure_of(result)
        assert f"{STORES} of {STORES} partitions have sales" in told, asset
        assert "Nothing was computed" in told, asset
        assert f"{upstream}: 2015-04-01|1, 2015-04-01|2" in told, asset
        assert chain.materialized(result.run_id) == {}, asset
        assert list(result.get_asset_check_evaluations()) == [], asset
        if missing:
            assert materialize(chain, missing, *APRIL).success, missing
    assert materialize(chain, "forecasts", *APRIL).success
    assert "cleaned_sales: 2015-06-01|1" in failure_of(
        materialize(chain, "forecast_accuracy", *APRIL)
    ), "the days that were forecast have sales, too"
    assert materialize(chain, "cleaned_sales", "2015-05-01|1", f"2015-05-01|{STORES}").success
    assert materialize(chain, "forecast_accuracy", *APRIL).success

    told = failure_of(
        chain.repository.get_job("train").execute_in_process(
            instance=chain.instance, partition_key="2015-05-01", raise_on_error=False
        )
    )
    assert "no features of 2015-05-01 to 2015-05-31" in told
    assert chain.frame("SELECT * FROM sales.pooled_models").empty


def test_what_can_be_computed_is_and_the_rest_keeps_its_rows(forecast_chain: Chain) -> None:
    chain = forecast_chain
    chain.run("refresh", *APRIL)
    before = rows(chain)["forecasts_backtest"]
    with chain.warehouse.transaction() as transaction:
        transaction.execute(
            "DELETE FROM sales.models WHERE period_start = '2015-04-01' AND store = 2"
        )
    result = materialize(chain, "forecasts", *APRIL)
    told = failure_of(result)
    assert f"1 of {STORES} partitions have sales" in told
    assert "The others were computed" in told
    assert "store_models: 2015-04-01|2" in told
    computed = chain.materialized(result.run_id)["forecasts"]
    assert computed == {f"2015-04-01|{s}": 42 for s in range(1, STORES + 1) if s != 2}
    pd.testing.assert_frame_equal(rows(chain)["forecasts_backtest"], before)


def test_a_store_without_sales_lacks_nothing(chain: Chain) -> None:
    """A store that is closed for a period, or not yet open, is no reason to fail."""
    train = kaggle.read_train(chain.folder)
    opened = (train["store"] != 5) | (train["date"] >= "2015-05-01")
    loading.load(
        chain.warehouse,
        stores=kaggle.read_stores(chain.folder),
        sales=train[opened],
        plans=train.iloc[:0],
        calendar=CALENDAR,
    )
    for asset in ("cleaned_sales", "features", "store_models", "forecasts"):
        result = materialize(chain, asset, *APRIL)
        assert failure_of(result) == "", asset
        assert chain.materialized(result.run_id)[asset]["2015-04-01|5"] == 0
