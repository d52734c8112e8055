"""A small chain of stores whose sales follow a known rule, with noise."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from forecasting.features.daily import day_features


def make_days(stores: int = 12, n_days: int = 420, seed: int = 0) -> pd.DataFrame:
    """Make a day panel with noise, in which stores differ by their level and promo effect.

    All stores sell the same share more on Mondays.
    """
    generator = np.random.default_rng(seed)
    dates = pd.date_range("2014-01-06", periods=n_days, freq="D")
    frames = []
    for store in range(1, stores + 1):
        weekday = dates.dayofweek.to_numpy()
        promo = (((np.arange(n_days) // 7) % 2 == 0) & (weekday < 5)).astype(np.int16)
        holiday = np.where((dates.month == 12) & (dates.day.isin([25, 26])), "c", "0")
        opened = ((weekday < 6) & (holiday == "0")).astype(np.int16)
        level = 8.5 + generator.normal(0, 0.3)
        effect = generator.normal(0.3, 0.05)
        noise = generator.normal(0, 0.08, n_days)
        log_sales = level + effect * promo + 0.1 * (weekday == 0) + noise
        frames.append(
            pd.DataFrame(
                {
                    "store": np.int32(store),
                    "date": dates,
                    "day_of_week": (weekday + 1).astype(np.int16),
                    "sales": np.round(np.exp(log_sales)) * opened,
                    "customers": np.round(np.exp(log_sales) / 9) * opened,
                    "open": opened,
                    "promo": promo,
                    "state_holiday": holiday,
                    "school_holiday": (dates.month == 8).astype(np.int16),
                }
            )
        )
    return pd.concat(frames, ignore_index=True)


@pytest.fixture(scope="session")
def days() -> pd.DataFrame:
    """The day panel of a dozen stores over fourteen months."""
    return make_days()


@pytest.fixture(scope="session")
def features(days: pd.DataFrame) -> pd.DataFrame:
    """The features of those stores and days."""
    return day_features(days)
