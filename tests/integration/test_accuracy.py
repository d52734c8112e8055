"""Forecasts are scored once their days are known: issued ones, corrections, backtests."""

from __future__ import annotations

from datetime import UTC, date, datetime

import dagster as dg
import pandas as pd
import pytest

from forecasting.evaluation.accuracy import SUMS
from tests.support.chain import STORES, Chain
from warehouse import accuracy

SCORES = """
SELECT * FROM sales.forecast_accuracy
ORDER BY kind, store, date, lead_week, origin NULLS FIRST, model_version
"""


def scored_by_hand(chain: Chain) -> pd.DataFrame:
    """The scores, computed another way: from the tables as frames."""
    forecast = chain.frame("SELECT * FROM sales.forecasts ORDER BY written_at")
    forecast = forecast.drop_duplicates(["kind", "store", "origin", "date"], keep="last")
    sales = chain.frame("SELECT store, date, sales FROM sales.cleaned_sales")
    both = forecast.merge(sales, on=["store", "date"])
    sold = both["sales"] > 0
    both["lead_week"] = (both["horizon"] + 6) // 7
    both["origin"] = both["origin"].where(both["kind"] == "backtest")
    both["forecasts"], both["sold"] = 1, sold.astype(int)
    both["absolute_error"] = (both["sales"] - both["q0_5"]).abs()
    relative = (both["sales"] - both["point"]) / both["sales"].where(sold)
    both["squared_percent_error"] = relative.pow(2).fillna(0)
    both["inside_80"] = both["sales"].between(both["q0_1"], both["q0_9"]) & sold
    both["inside_95"] = both["sales"].between(both["q0_025"], both["q0_975"]) & sold
    keys = ["kind", "store", "date", "lead_week", "origin", "model_version"]
    grouped = both.groupby(keys, dropna=False)[list(SUMS)].sum().astype(float)
    return grouped.reset_index().sort_values(keys, na_position="first", ignore_index=True)


def assert_scored(chain: Chain) -> pd.DataFrame:
    found = chain.frame(SCORES)
    expected = scored_by_hand(chain)
    pd.testing.assert_frame_equal(
        found[list(expected)].astype(dict.fromkeys(SUMS, float)), expected, check_dtype=False
    )
    return found


def test_days_that_arrive_are_held_against_their_forecasts(forecast_chain: Chain) -> None:
    chain = forecast_chain
    assert chain.frame(SCORES).empty, "no forecast has met its day yet"
    chain.load(date(2015, 6, 13))
    chain.refresh()
    chain.load(date(2015, 6, 15))
    result = chain.refresh()

    scores = assert_scored(chain)
    assert set(scores["kind"]) == {"issued"}
    assert scores["forecasts"].sum() == STORES * (3 + 2), "two origins, three and two days known"
    reported = chain.materialized(result.run_id)["forecast_accuracy"]
    # The longer file adds two days; what it repeats is neither stored nor scored again.
    assert reported == {f"2015-06-01|{store}": 2 for store in range(1, STORES + 1)}
    assert chain.frame("SELECT * FROM sales.refreshes WHERE scored_at IS NULL").empty
    newest = chain.instance.get_latest_materialization_event(dg.AssetKey("forecast_accuracy"))
    assert newest is not None and newest.asset_materialization is not None
    shown = newest.asset_materialization.metadata
    assert "WAPE%20of%20issued%20forecasts" in str(shown["picture"].value)
    assert len(str(shown["picture"].value)) < 1_000
    assert "data:image/svg+xml" in str(shown["by_lead_time"].value)
    check = next(
        e for e in result.get_asset_check_evaluations() if e.check_name == "coverage_and_bias"
    )
    assert check.passed
    assert "too few days to judge" in check.description


def test_a_correction_is_scored_again_and_nothing_else(forecast_chain: Chain) -> None:
    chain = forecast_chain
    chain.load(date(2015, 6, 16))
    chain.refresh()
    before = chain.frame(SCORES)
    chain.load(date(2015, 6, 16), as_of=datetime(2016, 1, 1, tzinfo=UTC), s2_2015_06_15=2)
    chain.run("refresh", "2015-06-01|2", "2015-06-01|2", refresh=True)

    after = assert_scored(chain)
    changed = (after["written_at"] != before["written_at"]).to_numpy()
    assert set(after.loc[changed, "store"]) == {2}
    assert after.loc[changed, "date"].min() == pd.Timestamp(2015, 6, 15)
    row = (after["store"] == 2) & (after["date"] == pd.Timestamp(2015, 6, 15))
    assert (after.loc[row, "sales"] == 2 * before.loc[row, "sales"]).all()

    # Store 2 was forecast twice from the 16th: what planners saw last is what counts.
    issues = chain.frame(
        "SELECT DISTINCT refresh_id FROM sales.forecasts_issued "
        "WHERE store = 2 AND origin = '2015-06-16'"
    )
    assert len(issues) == 2
    chain.load_day(date(2015, 6, 17))
    chain.refresh()
    newest = assert_scored(chain)
    of_the_17th = newest[newest["date"] == pd.Timestamp(2015, 6, 17)]
    assert of_the_17th.groupby("store")["forecasts"].sum().to_dict() == dict.fromkeys(
        range(1, STORES + 1), 2
    )


def test_a_backfill_scores_its_backtest_as_far_as_days_are_known(forecast_chain: Chain) -> None:
    chain = forecast_chain
    chain.train("2015-03-01")
    result = chain.run("refresh", "2015-04-01|1", f"2015-05-01|{STORES}")
    first = assert_scored(chain)
    assert set(first["kind"]) == {"backtest"}
    # From 30 April all 42 days are known, from 31 May those up to 12 June.
    assert first["forecasts"].sum() == STORES * (42 + 12)
    reported = chain.materialized(result.run_id)["forecast_accuracy"]
    assert reported["2015-04-01|1"] == 42
    assert reported["2015-05-01|1"] == 12

    chain.run("refresh", "2015-04-01|1", f"2015-04-01|{STORES}")
    again = assert_scored(chain)
    pd.testing.assert_frame_equal(
        again.drop(columns="written_at"), first.drop(columns="written_at")
    )
    june = (first["origin"] == pd.Timestamp(2015, 5, 31)).to_numpy()
    assert (again.loc[june, "written_at"] == first.loc[june, "written_at"]).all()


def test_what_a_killed_refresh_left_unscored_is_scored_by_the_next(
    forecast_chain: Chain, monkeypatch: pytest.MonkeyPatch
) -> None:
    chain = forecast_chain
    chain.load(date(2015, 6, 13))

    def broken(*args: object, **kwargs: object) -> None:
        raise RuntimeError("killed")

    with monkeypatch.context() as patch:
        patch.setattr(accuracy, "replace_days", broken)
        with pytest.raises(Exception, match="killed"):
            chain.refresh()
    assert chain.frame(SCORES).empty
    assert chain.frame("SELECT * FROM sales.changes WHERE done_at IS NULL").empty
    chain.load(date(2015, 6, 14))
    chain.refresh()
    assert set(assert_scored(chain)["date"].dt.day) == {13, 14}
