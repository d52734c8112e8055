"""Tests of day-level features: their context is bounded, and past and planned days agree."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from forecasting.features.daily import (
    CONTEXT_DAYS,
    FEATURE_COLUMNS,
    LOOKAHEAD_DAYS,
    day_features,
    easter_sunday,
)
from forecasting.features.regressors import design_matrix
from tests.unit.forecasting.conftest import make_days


def _window(frame: pd.DataFrame, start: pd.Timestamp, end: pd.Timestamp) -> pd.DataFrame:
    return frame[(frame["date"] >= start) & (frame["date"] <= end)].reset_index(drop=True)


def test_columns_are_the_declared_ones(features: pd.DataFrame) -> None:
    assert list(features.columns) == ["store", "date", *FEATURE_COLUMNS]


def test_bounded_context_gives_the_same_features(days: pd.DataFrame) -> None:
    closed = days.copy()
    long_closure = (closed["store"] == 3) & closed["date"].between("2014-06-01", "2014-08-20")
    closed.loc[long_closure, ["open", "sales"]] = 0
    closed = closed[~((closed["store"] == 5) & closed["date"].between("2014-05-01", "2014-07-30"))]
    whole = day_features(closed)
    for start in ("2014-07-15", "2014-08-21", "2014-11-20"):
        first = pd.Timestamp(start)
        last = first + pd.Timedelta(days=9)
        near = _window(
            closed,
            first - pd.Timedelta(days=CONTEXT_DAYS),
            last + pd.Timedelta(days=LOOKAHEAD_DAYS),
        )
        got = day_features(near, start=first.date(), end=last.date())
        pd.testing.assert_frame_equal(got, _window(whole, first, last))


def test_future_rows_get_the_features_that_training_sees(days: pd.DataFrame) -> None:
    origin = pd.Timestamp("2014-12-15")
    planned = days.copy()
    planned.loc[planned["date"] > origin, ["sales", "customers"]] = np.nan
    got, whole = day_features(planned), day_features(days)
    targets = ["log_sales", "log_customers"]
    pd.testing.assert_frame_equal(got.drop(columns=targets), whole.drop(columns=targets))
    np.testing.assert_array_equal(design_matrix(got), design_matrix(whole))


def test_order_of_rows_does_not_matter(days: pd.DataFrame) -> None:
    shuffled = days.sample(frac=1.0, random_state=1)
    pd.testing.assert_frame_equal(day_features(shuffled), day_features(days))


def test_target_is_unknown_on_closed_and_zero_days() -> None:
    days = make_days(stores=1, n_days=14)
    days.loc[2, "sales"] = 0.0
    days.loc[3, "sales"] = np.nan
    features = day_features(days)
    unknown = features["log_sales"].isna().to_numpy()
    np.testing.assert_array_equal(unknown, (days["open"] == 0) | days.index.isin([2, 3]))


def test_promo_counters_on_a_known_fortnight() -> None:
    features = day_features(make_days(stores=1, n_days=42)).set_index("date")
    third_promo = features.loc["2014-01-22"]
    assert third_promo["promo_day"] == 3
    assert third_promo["promo_days_left"] == 3
    saturday = features.loc["2014-01-25"]
    assert saturday["days_since_promo"] == 1
    assert saturday["days_to_promo"] == 9
    assert saturday["promo_days_last_14"] == 5


def test_refurbishment_is_seen_before_and_after() -> None:
    days = make_days(stores=1, n_days=120)
    closed = days["date"].between("2014-03-03", "2014-03-16")
    days.loc[closed, ["open", "sales"]] = 0
    features = day_features(days).set_index("date")
    assert features.loc["2014-02-28", "days_to_refurbishment"] == 2
    assert features.loc["2014-03-17", "days_since_refurbishment"] == 1
    assert features.loc["2014-03-17", "refurbishment_days"] == 15


@pytest.mark.parametrize(
    ("year", "date"), [(2013, "2013-03-31"), (2014, "2014-04-20"), (2026, "2026-04-05")]
)
def test_easter(year: int, date: str) -> None:
    assert easter_sunday(np.array([year]))[0] == np.datetime64(date)


def test_two_rows_for_one_date_are_refused(days: pd.DataFrame) -> None:
    with pytest.raises(ValueError, match="store 1 has two rows for 2014-01-06"):
        day_features(pd.concat([days, days.head(1)]))


def test_unknown_holiday_is_refused(days: pd.DataFrame) -> None:
    with pytest.raises(ValueError, match="unknown state holiday 'x'"):
        day_features(days.head(3).assign(state_holiday="x"))


def test_no_rows_give_no_rows(days: pd.DataFrame) -> None:
    empty = day_features(days.head(0))
    assert list(empty.columns) == ["store", "date", *FEATURE_COLUMNS]
