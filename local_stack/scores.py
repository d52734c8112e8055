"""The demo's yardstick: the project's forecaster beside a seasonal naive, straight from files."""

from dataclasses import dataclass
from datetime import date
from pathlib import Path

import pandas as pd

from forecasting.models.naive import seasonal_naive
from forecasting.pipeline import fit, predict
from forecasting.scoring import rmspe
from rossmann import kaggle

# The promo cycle: the naive forecast repeats the last two weeks.
NAIVE_SEASON_DAYS = 14


@dataclass(frozen=True)
class Scores:
    """Root mean square percentage errors over the same store days.

    Attributes:
        origin: The last day that was known.
        horizon: Days ahead that were forecast.
        ours: Error of the project's forecaster.
        naive: Error of the 14-day seasonal naive.
        days: Number of store days compared.
    """

    origin: date
    horizon: int
    ours: float
    naive: float
    days: int


def score(folder: Path, origin: date, horizon: int) -> Scores:
    """Forecast past days with what was known before them.

    Later openings, promos and holidays are known ahead, as a plan; later sales are not.

    Args:
        folder: Folder with Kaggle's files, plain or `.gz`.
        origin: The last day whose sales are known.
        horizon: Days ahead.

    Raises:
        rossmann.kaggle.KaggleFilesError: A file is not what it should be.
    """
    train = kaggle.read_train(folder)
    last = pd.Timestamp(origin)
    later = train[train["date"] > last]
    plan = pd.concat([later, kaggle.read_test(folder)])[
        ["store", "date", "open", "promo", "state_holiday", "school_holiday"]
    ]
    known = train[train["date"] <= last]
    origins = pd.Series(last, index=sorted(known["store"].unique()))
    plan = plan[plan["store"].isin(origins.index)]
    ours = predict(fit(known, plan, last), known, plan, origins, horizon=horizon)
    # A day after a holiday's fortnight would otherwise be forecast as closed.
    sold = known[known["sales"] > 0]
    naive = seasonal_naive(sold, origins, horizon, season=NAIVE_SEASON_DAYS)
    both = (
        later[["store", "date", "sales"]]
        .merge(ours[["store", "date", "point"]], on=["store", "date"])
        .merge(naive[["store", "date", "point"]], on=["store", "date"], suffixes=("", "_naive"))
    )
    both = both[(both["sales"] > 0) & both["point_naive"].notna()]
    actual = both["sales"].to_numpy(float)
    return Scores(
        origin=origin,
        horizon=horizon,
        ours=rmspe(actual, both["point"].to_numpy(float)),
        naive=rmspe(actual, both["point_naive"].to_numpy(float)),
        days=len(both),
    )
