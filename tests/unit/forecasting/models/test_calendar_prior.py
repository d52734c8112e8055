"""Tests of the rules for short histories: what forecasts assume about seasons without sales."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from forecasting.features.regressors import DESIGN_COLUMNS
from forecasting.models.calendar_prior import (
    CHRISTMAS_RISE,
    HALF_DAY,
    prior_center,
    prior_covariance,
    prior_reach,
    prior_share,
    seasonal_columns,
    store_spread,
)
from forecasting.models.linear import Moments, Population, mean_covariance, settle
from forecasting.models.store_fit import scale_with_season
from forecasting.pipeline import fit_and_predict
from tests.unit.forecasting.conftest import make_days

#: The chain's sales begin in January 2014; ten months later, it has seen no December.
_TEN_MONTHS = pd.Timestamp("2014-10-26")
_HORIZON = 91


@pytest.fixture(scope="module")
def first_december() -> pd.DataFrame:
    """Forecasts of a quarter that ends a chain's first year, with a season in the months seen.

    Sales grow by a third from January to June and fall again until October.
    """
    days = make_days(stores=8, n_days=400)
    month = days["date"].dt.dayofyear / 30.4
    days["sales"] = (days["sales"] * np.exp(0.15 * np.sin(np.pi * month / 10))).round()
    past = days[days["date"] <= _TEN_MONTHS]
    plan = days[days["date"] > _TEN_MONTHS].drop(columns=["sales", "customers"])
    out = fit_and_predict(past, plan, _TEN_MONTHS, horizon=_HORIZON)
    return out[out["open"] == 1]


def _log_mean(forecasts: pd.DataFrame, first: str, last: str) -> float:
    rows = forecasts[forecasts["date"].between(first, last)]
    return float(np.log(rows["q0_5"]).mean())


def test_waves_do_not_continue_into_months_without_sales(first_december: pd.DataFrame) -> None:
    """The fall until October says nothing about November."""
    assert _log_mean(first_december, "2014-11-03", "2014-11-16") == pytest.approx(
        _log_mean(first_december, "2014-10-27", "2014-11-02"), abs=0.2
    )
    january = _log_mean(first_december, "2015-01-12", "2015-01-25")
    assert _log_mean(first_december, "2014-11-03", "2014-11-16") == pytest.approx(january, abs=0.1)


def test_a_first_christmas_rises_as_published(first_december: pd.DataFrame) -> None:
    """Both fortnights have one week of promotion."""
    november = _log_mean(first_december, "2014-11-03", "2014-11-16")
    december = _log_mean(first_december, "2014-12-08", "2014-12-21")
    assert 0.2 < december - november < 0.45
    eve = _log_mean(first_december, "2014-12-24", "2014-12-24")
    assert eve < _log_mean(first_december, "2014-12-22", "2014-12-23")


def test_an_unseen_season_has_wider_intervals(first_december: pd.DataFrame) -> None:
    width = np.log(first_december["q0_9"] / first_december["q0_1"])
    november = width[first_december["date"].between("2014-11-03", "2014-11-16")].median()
    december = width[first_december["date"].between("2014-12-13", "2014-12-21")].median()
    assert december > 1.5 * november


def test_the_rise_ends_on_a_short_christmas_eve() -> None:
    center = dict(zip(DESIGN_COLUMNS, prior_center(), strict=True))
    rises = [value for name, value in center.items() if name.startswith("before_christmas")][::-1]
    assert rises[:-1] == sorted(rises[:-1])
    assert 0 < rises[0] < 0.1 < rises[-2] < CHRISTMAS_RISE
    assert center["before_christmas_1_1"] == pytest.approx(CHRISTMAS_RISE + HALF_DAY, abs=0.02)
    assert center["after_christmas_6_6"] == HALF_DAY
    others = [value for name, value in center.items() if "christmas" not in name]
    assert not any(others)


def test_a_december_without_a_rise_so_far_lowers_the_rest_of_the_rise() -> None:
    """The last bins were never seen; the first ones sold as usual."""
    bins = [j for j, name in enumerate(DESIGN_COLUMNS) if name.startswith("before_christmas")]
    seen, unseen = bins[-4:], bins[1]
    moments = Moments.zeros(1, len(DESIGN_COLUMNS))
    x = np.zeros((400, len(DESIGN_COLUMNS)))
    x[:, 0] = 1.0
    for k, column in enumerate(seen):
        x[10 * k : 10 * k + 10, column] = 1.0
    moments.add(0, x, np.full(400, 2.0), np.ones(400))
    center, covariance = prior_center(), prior_covariance()
    start = Population(center, 1e-9 * np.eye(len(center)), 1.0)
    settled = settle(moments, start, center=center, covariance=covariance).mean
    assert abs(settled[seen]).max() < 0.02
    assert settled[unseen] < 0.6 * center[unseen]


def test_gentler_waves_are_expected_less_of_the_year_and_between_stores() -> None:
    waves = [j for j, name in enumerate(DESIGN_COLUMNS) if name.startswith("year_")]
    reach, spread = np.sqrt(np.diag(prior_covariance())), store_spread()
    assert (np.diff(reach[waves])[1::2] < 0).all()
    assert reach[waves].max() < prior_reach()[waves].min()
    assert (spread[waves] < spread[DESIGN_COLUMNS.index("promo")]).all()
    assert set(waves) <= set(seasonal_columns())


def test_the_settled_mean_equals_a_ridge_regression_of_what_stores_share() -> None:
    """Store effects that are known exactly leave one regression, which counts as one series."""
    generator = np.random.default_rng(0)
    moments = Moments.zeros(3, 3)
    difference = np.array([[0.5, 0.2, 0.0], [-0.5, -0.2, 0.0], [0.0, 0.0, 0.0]])
    rows = []
    for store in range(3):
        x = np.column_stack([np.ones(400), generator.normal(size=(400, 2))])
        x[:, 2] = 0.0
        y = x @ (np.array([2.0, 1.0, 0.0]) + difference[store])
        moments.add(store, x, y, np.ones(400))
        rows.append((x, y - x @ difference[store]))
    start = Population(np.array([2.0, 1.0, 9.0]), np.diag([1.0, 1.0, 1e-9]), 1e-6)
    center, covariance = np.array([0.0, 0.0, 0.3]), np.diag([1e6, 0.2**2, 0.2**2])
    settled = settle(moments, start, center=center, covariance=covariance)
    penalty = np.array([0.0, 0.0025 / 0.2**2, 0.0025 / 0.2**2])
    gram = sum(x.T @ x for x, _ in rows) / 3 + np.diag(penalty)
    moment = sum(x.T @ y for x, y in rows) / 3 + penalty * center
    np.testing.assert_allclose(settled.mean, np.linalg.solve(gram, moment), atol=1e-3)
    assert settled.mean[2] == pytest.approx(0.3)
    half = settle(moments, start, center=center, covariance=covariance, share=0.5)
    np.testing.assert_allclose(half.mean, (settled.mean + start.mean) / 2)
    known = mean_covariance(moments, covariance)
    assert np.sqrt(known[2, 2]) == pytest.approx(0.2)
    assert np.sqrt(known[1, 1]) < 0.01


def test_the_assumptions_fade_out_over_the_second_year() -> None:
    assert [prior_share(days) for days in (0, 365, 547.5, 730, 2000)] == [1, 1, 0.5, 0, 0]


def test_a_row_is_as_uncertain_as_its_season() -> None:
    p = len(DESIGN_COLUMNS)
    column = DESIGN_COLUMNS.index("before_christmas_4_5")
    covariance = np.zeros((p, p))
    covariance[column, column] = 0.3**2
    x = np.zeros((2, p))
    x[1, column] = 1.0
    np.testing.assert_allclose(
        scale_with_season(np.array([0.4, 0.4]), x, covariance), [0.4, 0.5], rtol=1e-12
    )
