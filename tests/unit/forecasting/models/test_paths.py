"""Tests of joint paths: exact marginals, the same paths alone and in the chain, honest totals."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from forecasting.columns import QUANTILE_COLUMNS, QUANTILES
from forecasting.features.daily import day_features
from forecasting.models.dependence import Dependence, ErrorPart
from forecasting.models.joint import GROUP_DAY, GROUP_WEEK, STORE_WEEK, week_ends
from forecasting.models.paths import PATHS, sample_paths, totals
from forecasting.models.pooled import PooledModel
from forecasting.models.training import fit_pooled
from forecasting.pipeline import fit_and_predict

ORIGIN = pd.Timestamp("2015-01-16")
HORIZON = 42
DEPENDENCE = Dependence.default()


@pytest.fixture(scope="module")
def forecasts(days: pd.DataFrame) -> pd.DataFrame:
    plan = days[days["date"] > ORIGIN].drop(columns=["sales", "customers"])
    return fit_and_predict(days[days["date"] <= ORIGIN], plan, ORIGIN, horizon=HORIZON)


def collect(forecasts: pd.DataFrame, dependence: Dependence, seed: int = 0) -> np.ndarray:
    out = np.full((len(forecasts), PATHS), np.nan, np.float32)
    for rows, values in sample_paths(forecasts, dependence, seed=seed):
        out[rows] = values
    return out


def test_paths_reproduce_the_daily_quantiles_exactly(forecasts: pd.DataFrame) -> None:
    paths = collect(forecasts, DEPENDENCE)
    assert not np.isnan(paths).any()
    expected = forecasts[list(QUANTILE_COLUMNS)].to_numpy()
    np.testing.assert_allclose(np.quantile(paths, QUANTILES, axis=1).T, expected, rtol=1e-6)
    closed = forecasts["open"].to_numpy() == 0
    assert closed.any() and (paths[closed] == 0).all() and (paths[~closed] > 0).all()


def test_a_store_alone_has_the_same_paths_as_within_the_chain(forecasts: pd.DataFrame) -> None:
    whole = collect(forecasts, DEPENDENCE)
    for store in (1, 7):
        mine = (forecasts["store"] == store).to_numpy()
        np.testing.assert_array_equal(collect(forecasts[mine], DEPENDENCE), whole[mine])
    shuffled = forecasts.sample(frac=1.0, random_state=0)
    np.testing.assert_array_equal(
        collect(shuffled, DEPENDENCE), whole[shuffled.index.to_numpy()], "in any order of rows"
    )


def test_paths_depend_on_the_seed_alone(forecasts: pd.DataFrame) -> None:
    part = forecasts[forecasts["store"] <= 2]
    np.testing.assert_array_equal(collect(part, DEPENDENCE, 3), collect(part, DEPENDENCE, 3))
    assert (collect(part, DEPENDENCE, 3) != collect(part, DEPENDENCE, 4)).any()


def test_stores_and_days_err_together_as_learned(forecasts: pd.DataFrame) -> None:
    """Independent days give narrow totals, fully dependent ones the sums of the quantiles."""
    keys = {"all": forecasts[["origin"]]}
    none = Dependence(ErrorPart(0, 0, 0.5, 0.0), ErrorPart(0, 0, 0.5, 1.0))
    full = Dependence(ErrorPart(1.0, 0, 0.5, 1e-9), ErrorPart(0, 0, 0.5, 1e-9))
    narrow, wide = (totals(forecasts, d, keys)["all"].iloc[0] for d in (none, full))
    sums = forecasts[list(QUANTILE_COLUMNS)].sum()
    np.testing.assert_allclose(wide[list(QUANTILE_COLUMNS)].astype(float), sums, rtol=2e-3)
    n = int((forecasts["open"] == 1).sum())
    share = (narrow["q0_9"] - narrow["q0_1"]) / (sums["q0_9"] - sums["q0_1"])
    assert share < 2.0 / np.sqrt(n)


def test_totals_sum_what_their_keys_say(forecasts: pd.DataFrame) -> None:
    week = week_ends(forecasts["date"])
    assert (week.dt.dayofweek == 6).all() and ((week - forecasts["date"]).dt.days <= 6).all()
    even = forecasts["store"].where(forecasts["store"] % 2 == 0)
    out = totals(
        forecasts,
        DEPENDENCE,
        {
            "store_week": pd.DataFrame({"store": forecasts["store"], "week": week}),
            "even": pd.DataFrame({"store": even}),
        },
    )
    weeks, evens = out["store_week"], out["even"]
    assert len(weeks) == 12 * week.nunique() and set(evens["store"]) == {2, 4, 6, 8, 10, 12}
    assert (evens["days"] == HORIZON).all()
    by_week = forecasts.groupby([forecasts["store"], week.rename("week")])["mean"].sum()
    np.testing.assert_allclose(weeks["mean"], by_week.to_numpy())
    values = weeks[list(QUANTILE_COLUMNS)].to_numpy()
    assert (np.diff(values, axis=1) >= 0).all()
    # Errors partly cancel out, so a week is surer than the sum of its days' quantiles says.
    q90 = forecasts.groupby([forecasts["store"], week.rename("week")])["q0_9"].sum()
    assert (weeks["q0_9"].to_numpy() <= q90.to_numpy() * 1.001).all()


def test_widening_moves_the_totals_from_their_median(forecasts: pd.DataFrame) -> None:
    keys = {"group_week/chain": pd.DataFrame({"week": week_ends(forecasts["date"])})}
    wider = Dependence(DEPENDENCE.chain, DEPENDENCE.store, {"group_week": 2.0})
    plain, wide = (totals(forecasts, d, keys)["group_week/chain"] for d in (DEPENDENCE, wider))
    np.testing.assert_allclose(wide["q0_5"], plain["q0_5"])
    np.testing.assert_allclose(
        np.log(wide["q0_9"] / wide["q0_5"]), 2 * np.log(plain["q0_9"] / plain["q0_5"])
    )


def test_two_forecasts_of_a_day_are_refused(forecasts: pd.DataFrame) -> None:
    with pytest.raises(ValueError, match="store 1 has two forecasts for 2015-01-17"):
        collect(pd.concat([forecasts, forecasts.head(1)]), DEPENDENCE)


def test_a_training_learns_the_dependence(days: pd.DataFrame) -> None:
    """Stores of this chain err independently, apart from levels that were missed."""
    pooled = fit_pooled(day_features(days), origin=ORIGIN.date(), horizon=HORIZON)
    assert pooled.dependence.chain.variance < 0.35 * pooled.dependence.store.variance
    assert set(pooled.dependence.widening) == {STORE_WEEK, GROUP_DAY, GROUP_WEEK}
    again = PooledModel.from_bytes(pooled.to_bytes())
    assert again.dependence == pooled.dependence
