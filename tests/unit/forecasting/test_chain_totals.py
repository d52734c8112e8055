"""Tests of the totals that planners ask for."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from forecasting.chain_totals import TOTAL_COLUMNS, chain_totals
from forecasting.columns import QUANTILE_COLUMNS
from forecasting.models.dependence import Dependence

ORIGIN = pd.Timestamp("2015-06-12")
DEPENDENCE = Dependence.default()


def frame(stores: int, origin: pd.Timestamp = ORIGIN, horizon: int = 21) -> pd.DataFrame:
    """Forecasts of some stores: 1,000 times the store's number, give or take, never on Sundays."""
    dates = pd.date_range(origin + pd.Timedelta(days=1), periods=horizon)
    out = pd.DataFrame(
        {
            "store": np.repeat(np.arange(1, stores + 1), horizon),
            "origin": origin,
            "date": np.tile(dates, stores),
        }
    )
    opened = out["date"].dt.dayofweek < 6
    out["mean"] = 1000.0 * out["store"] * opened
    factors = np.exp(0.15 * np.linspace(-2, 2, len(QUANTILE_COLUMNS)))
    for name, factor in zip(QUANTILE_COLUMNS, factors, strict=True):
        out[name] = out["mean"] * factor
    return out


@pytest.fixture
def attributes() -> pd.DataFrame:
    return pd.DataFrame(
        {"store": [1, 2, 3, 4], "store_type": list("aabb"), "assortment": list("acac")}
    )


def test_every_level_and_grain_has_its_totals(attributes: pd.DataFrame) -> None:
    out = chain_totals(frame(4), attributes, DEPENDENCE)
    assert tuple(out.columns) == TOTAL_COLUMNS
    sizes = out.groupby(["level", "grain"]).size().to_dict()
    # 12 June 2015 is a Friday: 21 days touch four calendar weeks.
    assert sizes == {
        ("assortment", "day"): 42,
        ("assortment", "week"): 8,
        ("chain", "day"): 21,
        ("chain", "week"): 4,
        ("store", "week"): 16,
        ("store_type", "day"): 42,
        ("store_type", "week"): 8,
    }
    b = out[(out["level"] == "store_type") & (out["member"] == "b") & (out["grain"] == "week")]
    assert b["mean"].to_list() == [7000.0, 42_000.0, 42_000.0, 35_000.0]
    assert b["days"].to_list() == [4, 14, 14, 10]
    assert b["first_day"].dt.day.to_list() == [13, 15, 22, 29]
    assert (b["last_day"].dt.dayofweek == 6).to_list() == [True, True, True, False]


def test_groups_leave_out_days_that_not_every_store_has(attributes: pd.DataFrame) -> None:
    """A store that is a day behind has another horizon."""
    behind = frame(1, ORIGIN - pd.Timedelta(days=1))
    both = pd.concat([frame(4).query("store > 1"), behind], ignore_index=True)
    out = chain_totals(both, attributes, DEPENDENCE)
    days = out[(out["level"] == "chain") & (out["grain"] == "day")]
    assert days["first_day"].min() == ORIGIN + pd.Timedelta(days=1)
    assert (days["origin"] == ORIGIN).all()


def test_only_refreshed_stores_get_new_weeks(attributes: pd.DataFrame) -> None:
    out = chain_totals(frame(4), attributes, DEPENDENCE, of_stores={2})
    everything = chain_totals(frame(4), attributes, DEPENDENCE)
    weeks = out[out["level"] == "store"]
    assert set(weeks["member"]) == {"2"}
    same = everything[(everything["level"] == "store") & (everything["member"] == "2")]
    pd.testing.assert_frame_equal(weeks.reset_index(drop=True), same.reset_index(drop=True))
    pd.testing.assert_frame_equal(
        out[out["level"] != "store"].reset_index(drop=True),
        everything[everything["level"] != "store"].reset_index(drop=True),
    )
