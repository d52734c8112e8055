"""Plans of the days after an origin, and the features of those days.

A day without a plan gets the store's usual weekday opening and the promo of its last 14-day cycle;
`plan_assumed` marks it. Other stores have no say: a store has the same plan alone and with its
chain. The features themselves are computed in `features/daily.py`.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from forecasting.arrays import Array
from forecasting.columns import PLAN_COLUMNS
from forecasting.features.daily import CONTEXT_DAYS, LOOKAHEAD_DAYS, day_features

#: The promo cycle of the chain, in days.
PROMO_CYCLE_DAYS = 14
#: Days of history that define the usual weekday openings.
OPENING_DAYS = 56

_PROMO_COLUMNS = ["store", "date", "promo"]


def _usual_openings(history: pd.DataFrame, origins: pd.Series) -> pd.DataFrame:
    """Return each store's usual opening (0 or 1) by weekday; Monday to Saturday if unknown."""
    origin = history["store"].map(origins)
    recent = history[
        (history["date"] <= origin)
        & (history["date"] > origin - pd.Timedelta(days=OPENING_DAYS))
        & (history["state_holiday"].astype(str) == "0")
    ]
    weekday = recent["date"].dt.dayofweek.rename("weekday")
    share = recent["open"].groupby([recent["store"], weekday]).mean().unstack()
    share = share.reindex(index=origins.index, columns=range(7))
    default = pd.Series([1.0] * 6 + [0.0], index=range(7))
    return share.fillna(default).ge(0.5).astype(np.int16)


def _horizon_days(origins: pd.Series, horizon: int) -> pd.DataFrame:
    """List store and date of the `horizon` days after each store's origin."""
    date = origins.to_numpy("datetime64[D]")[:, None] + np.arange(1, horizon + 1)
    return pd.DataFrame(
        {
            "store": np.repeat(origins.index.to_numpy(), horizon).astype(np.int32),
            "date": date.ravel().astype("datetime64[ns]"),
        }
    )


def _complete_promos(days: pd.DataFrame, promos: pd.DataFrame) -> Array:
    """Fill missing promos from the same day of the store's earlier cycles, newest cycle first.

    Args:
        days: Store, date and `promo`, which is NaN where no promo is planned.
        promos: Promos of the past and of the plan: store, date, promo.

    Returns:
        The promo of each row of `days`; 0 where no earlier cycle has that day.
    """
    promo: Array = pd.to_numeric(days["promo"], errors="coerce").to_numpy(np.float64, copy=True)
    if not np.isnan(promo).any():
        return promo
    promos = promos.assign(promo=pd.to_numeric(promos["promo"], errors="coerce")).dropna()
    promos = promos.drop_duplicates(["store", "date"], keep="last")
    by_store = promos.set_index(["store", "date"])["promo"]
    horizon = int(days.groupby("store").size().max())
    for cycles in range(1, -(-(horizon + OPENING_DAYS) // PROMO_CYCLE_DAYS) + 1):
        missing = np.isnan(promo)
        if not missing.any():
            break
        earlier = days["date"][missing] - pd.Timedelta(days=cycles * PROMO_CYCLE_DAYS)
        key = pd.MultiIndex.from_arrays([days["store"][missing], earlier])
        promo[missing] = by_store.reindex(key).to_numpy()
    return np.where(np.isnan(promo), 0.0, promo)


def complete_plan(
    history_days: pd.DataFrame,
    planned_days: pd.DataFrame,
    origins: pd.Series,
    horizon: int,
) -> pd.DataFrame:
    """Complete the plan of the `horizon` days after each store's origin.

    Args:
        history_days: Day panel up to the origins; the last 56 days are enough.
        planned_days: Plans with store, date and any of open, promo, state_holiday and
            school_holiday; missing values are allowed. A plan without `open` counts as open.
            Rows up to a store's origin are ignored.
        origins: Origin (last day whose sales are known) by store.
        horizon: Days ahead.

    Returns:
        Day panel of the horizon, sorted by store and date, with `sales` and `customers` NaN, and
        `plan_assumed` (bool). It is True for a day without a plan, which gets the usual weekday
        opening, the promo of the same day of the last promo cycle, and no holiday.
    """
    origins = pd.to_datetime(origins).sort_index()
    stores = origins.index.to_numpy()
    days = _horizon_days(origins, horizon)
    known = planned_days.reindex(columns=["store", "date", *PLAN_COLUMNS])
    known = known.drop_duplicates(["store", "date"], keep="last").assign(planned=True)
    days = days.merge(known, on=["store", "date"], how="left")
    assumed = days.pop("planned").isna().to_numpy()

    history = history_days[history_days["store"].isin(stores)]
    weekday = days["date"].dt.dayofweek.to_numpy()
    row = np.repeat(np.arange(len(stores)), horizon)
    usual = _usual_openings(history, origins).to_numpy()[row, weekday]
    opened = pd.to_numeric(days["open"], errors="coerce").to_numpy(np.float64)
    opened = np.where(np.isnan(opened), np.where(assumed, usual, 1), opened)
    promo = _complete_promos(days, pd.concat([history[_PROMO_COLUMNS], known[_PROMO_COLUMNS]]))
    holiday = days["state_holiday"].astype("object")
    school = pd.to_numeric(days["school_holiday"], errors="coerce").fillna(0)
    return pd.DataFrame(
        {
            "store": days["store"],
            "date": days["date"],
            "day_of_week": (weekday + 1).astype(np.int16),
            "sales": np.nan,
            "customers": np.nan,
            "open": opened.astype(np.int16),
            "promo": promo.astype(np.int16),
            "state_holiday": holiday.where(holiday.notna(), "0").astype(str),
            "school_holiday": school.astype(np.int16),
            "plan_assumed": assumed,
        }
    )


def features_with_plan(
    history_days: pd.DataFrame,
    planned_days: pd.DataFrame,
    origins: pd.Series,
    horizon: int,
) -> pd.DataFrame:
    """Compute the features of the past and of the `horizon` days after each store's origin.

    Past and future days are computed together, so that the last past days look ahead into the plan
    as earlier days do. The plan is completed beyond the horizon, so that the horizon's last days
    have a look-ahead too.

    Args:
        history_days: Day panel; rows after a store's origin are ignored.
        planned_days: As for `complete_plan`.
        origins: Origin by store; stores without one are left out.
        horizon: Days ahead.

    Returns:
        Rows of `day_features` up to `horizon` days after each store's origin. Days after the
        origin have no `log_sales`.
    """
    origins = pd.to_datetime(origins)
    future = complete_plan(history_days, planned_days, origins, horizon + LOOKAHEAD_DAYS)
    past = history_days[history_days["date"] <= history_days["store"].map(origins)]
    features = day_features(pd.concat([past.assign(plan_assumed=False), future], ignore_index=True))
    step = (features["date"] - features["store"].map(origins)).dt.days
    return features[step <= horizon].reset_index(drop=True)


def future_features(
    history_days: pd.DataFrame,
    planned_days: pd.DataFrame,
    origins: pd.Series,
    horizon: int,
) -> pd.DataFrame:
    """Compute the features of only the `horizon` days after each store's origin.

    Args:
        history_days: Day panel up to the origins; its last `CONTEXT_DAYS` days are enough.
        planned_days: As for `complete_plan`.
        origins: Origin by store.
        horizon: Days ahead.

    Returns:
        The rows of `features_with_plan` after the origins, `horizon` per store.
    """
    return planned_features(history_days, planned_days, origins, horizon)[1]


def planned_features(
    history_days: pd.DataFrame,
    planned_days: pd.DataFrame,
    origins: pd.Series,
    horizon: int,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Compute the features of all days that a plan reaches.

    Args:
        history_days: Day panel up to the origins; its last `CONTEXT_DAYS` days are enough.
        planned_days: As for `complete_plan`.
        origins: Origin by store.
        horizon: Days ahead.

    Returns:
        The rows of `features_with_plan` of the last `LOOKAHEAD_DAYS` days up to the origins, which
        look ahead into the plan, and those after the origins, `horizon` per store.
    """
    origins = pd.to_datetime(origins)
    oldest = history_days["store"].map(origins) - pd.Timedelta(days=CONTEXT_DAYS)
    context = history_days[history_days["date"] > oldest]
    features = features_with_plan(context, planned_days, origins, horizon)
    step = (features["date"] - features["store"].map(origins)).dt.days
    looking = features[(step <= 0) & (step > -LOOKAHEAD_DAYS)]
    return looking.reset_index(drop=True), features[step > 0].reset_index(drop=True)
