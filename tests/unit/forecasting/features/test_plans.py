"""Tests of plans, and of the openings and promos that are assumed on days without a plan."""

from __future__ import annotations

import numpy as np
import pandas as pd

from forecasting.features.plans import complete_plan, future_features
from tests.unit.forecasting.conftest import make_days

ORIGIN = pd.Timestamp("2014-03-30")


def _origins() -> pd.Series:
    return pd.Series(ORIGIN, index=[1, 2])


def test_an_unknown_future_repeats_weekdays_and_promo_cycle() -> None:
    days = make_days(stores=2, n_days=150)
    history = days[days["date"] <= ORIGIN]
    plan = complete_plan(history, days.head(0), _origins(), 42)
    assert plan["plan_assumed"].all()
    truth = days[(days["date"] > ORIGIN)].merge(plan, on=["store", "date"], suffixes=("", "_plan"))
    assert (truth["open"] == truth["open_plan"]).all()
    assert (truth["promo"] == truth["promo_plan"]).all()


def test_a_store_with_gaps_has_the_same_plan_alone_and_with_its_chain() -> None:
    days = make_days(stores=2, n_days=150)
    history = days[days["date"] <= ORIGIN]
    # Store 2 began a week ago, or did not report its last cycle; store 1 did.
    week = pd.Timedelta(days=7)
    begun = history[(history["store"] == 1) | (history["date"] > ORIGIN - week)]
    silent = history[(history["store"] == 1) | (history["date"] <= ORIGIN - 3 * week)]
    for gaps in (begun, silent):
        together = complete_plan(gaps, days.head(0), _origins(), 42)
        alone = complete_plan(gaps[gaps["store"] == 2], days.head(0), _origins().loc[[2]], 42)
        together = together[together["store"] == 2].reset_index(drop=True)
        pd.testing.assert_frame_equal(together, alone)
    assert alone["promo"].any(), "it repeats its own last cycle, however long ago"


def test_a_plan_is_followed_and_a_missing_open_means_open() -> None:
    days = make_days(stores=2, n_days=150)
    sunday = ORIGIN + pd.Timedelta(days=7)
    known = pd.DataFrame(
        {
            "store": [1, 1],
            "date": [ORIGIN + pd.Timedelta(days=1), sunday],
            "open": [0.0, np.nan],
            "promo": [1, 0],
            "state_holiday": ["a", "0"],
            "school_holiday": [1, 1],
        }
    )
    plan = complete_plan(days[days["date"] <= ORIGIN], known, _origins(), 10)
    one = plan[plan["store"] == 1].set_index("date")
    assert one.loc[known["date"][0], ["open", "promo", "state_holiday"]].tolist() == [0, 1, "a"]
    assert one.loc[sunday, "open"] == 1 and not one.loc[sunday, "plan_assumed"]
    assert plan["plan_assumed"].sum() == 18


def test_a_moved_promo_moves_the_features() -> None:
    days = make_days(stores=1, n_days=150)
    origins = pd.Series(ORIGIN, index=[1])
    plan = days[days["date"] > ORIGIN].drop(columns=["sales", "customers"])
    moved = plan.assign(promo=1 - plan["promo"])
    before = future_features(days, plan, origins, 14)
    after = future_features(days, moved, origins, 14)
    assert (before["promo"] + after["promo"] == 1).all()


def test_history_after_the_origin_is_not_read() -> None:
    days = make_days(stores=2, n_days=150)
    cut = future_features(days[days["date"] <= ORIGIN], days.head(0), _origins(), 21)
    whole = future_features(days, days.head(0), _origins(), 21)
    pd.testing.assert_frame_equal(cut, whole)
