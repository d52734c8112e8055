"""Schemas of the frames that assets exchange, with a description of every column.

Here belongs what a frame must satisfy before it is used or stored. Each schema is lazy to use:
``DAYS.validate(frame, lazy=True)`` reports every failure at once.
"""

from __future__ import annotations

import pandas as pd
import pandera.pandas as pa

from forecast_assets.core.columns import QUANTILE_COLUMNS, QUANTILES
from forecast_assets.core.features import FEATURE_COLUMNS, STATE_HOLIDAY_CODES

_PANDAS_TYPES = {"int2": "int16", "int4": "int32", "float4": "float32", "bool": "bool"}


def _column(kind: str, description: str, *checks: pa.Check, nullable: bool = False) -> pa.Column:
    return pa.Column(kind, checks=list(checks), nullable=nullable, description=description)


_KEY = {
    "store": _column("int32", "The store's number.", pa.Check.ge(1)),
    "date": _column("datetime64[ns]", "The day, at midnight."),
}

DAYS = pa.DataFrameSchema(
    {
        **_KEY,
        "day_of_week": _column("int16", "1 is Monday, 7 is Sunday.", pa.Check.in_range(1, 7)),
        "sales": _column(
            "float64",
            "Turnover of the day; missing while it is not known.",
            pa.Check.ge(0),
            nullable=True,
        ),
        "customers": _column("float64", "Customers of the day.", pa.Check.ge(0), nullable=True),
        "open": _column("int16", "1 when the store is open.", pa.Check.isin([0, 1])),
        "promo": _column("int16", "1 when the store runs a promo.", pa.Check.isin([0, 1])),
        "state_holiday": _column(
            "str",
            "0 none, a public holiday, b Easter, c Christmas.",
            pa.Check.isin(list(STATE_HOLIDAY_CODES)),
        ),
        "school_holiday": _column(
            "int16", "1 when the schools nearby are closed.", pa.Check.isin([0, 1])
        ),
    },
    checks=[
        pa.Check(
            lambda frame: frame["date"].dt.dayofweek + 1 == frame["day_of_week"],
            name="weekday_matches_date",
            error="day_of_week contradicts date",
        ),
        pa.Check(
            lambda frame: ~((frame["open"] == 0) & (frame["sales"] > 0)),
            name="closed_days_sell_nothing",
            error="sales on a closed day",
        ),
    ],
    unique=["store", "date"],
    name="days",
    description="The day panel: what is known of a store on a day.",
)

FEATURE_DESCRIPTIONS: dict[str, str] = {
    "day_of_week": "1 is Monday, 7 is Sunday.",
    "open": "1 when the store is (or will be) open.",
    "promo": "1 on promo days.",
    "state_holiday": "0 none, 1 public holiday, 2 Easter, 3 Christmas.",
    "school_holiday": "1 when the schools nearby are closed.",
    "log_sales": "Natural logarithm of sales; missing when closed, zero or not known.",
    "log_customers": "Natural logarithm of customers; missing likewise.",
    "promo_day": "Which day of the running promo, 1 the first; 0 without promo.",
    "promo_days_left": "Promo days from this one to the last of the block, at most 14.",
    "days_since_promo": "Days since the last promo day, at most 31; 0 on promo days.",
    "days_to_promo": "Days to the next promo day, at most 15; 0 on promo days.",
    "promo_days_last_14": "Promo days among the 14 days before.",
    "promo_days_next_14": "Promo days among the 14 days after.",
    "days_since_holiday": "Days since the last state holiday, at most 31.",
    "days_to_holiday": "Days to the next state holiday, at most 15.",
    "school_day": "Which day of the running school holidays, at most 30; 0 outside.",
    "school_days_left": "Days of school holidays from this one on, at most 14; 0 outside.",
    "days_since_school": "Days since the last school holiday, at most 31.",
    "days_to_school": "Days to the next school holiday, at most 15.",
    "closed_days_before": "Closed days in a row just before, at most 30.",
    "closed_days_after": "Closed days in a row just after, at most 14.",
    "open_days_week": "Open days of the Monday-to-Sunday week.",
    "days_since_refurbishment": "Days since a closure of 6 days or more ended, at most 91.",
    "days_to_refurbishment": "Days to the next such closure, at most 10.",
    "refurbishment_days": "How long the last such closure was, at most 60; 0 without.",
    "days_to_christmas": "Days to the next 25 December.",
    "days_from_easter": "Days from the nearest Easter Sunday, negative before it.",
    "plan_assumed": "True when nobody planned the day and the usual pattern was assumed.",
}

FEATURES = pa.DataFrameSchema(
    {
        **_KEY,
        **{
            name: _column(
                _PANDAS_TYPES[kind], FEATURE_DESCRIPTIONS[name], nullable=kind == "float4"
            )
            for name, kind in FEATURE_COLUMNS.items()
        },
    },
    unique=["store", "date"],
    name="features",
    description="Day-level features of a store and date.",
)

STORE_MODELS = pa.DataFrameSchema(
    {
        "store": _KEY["store"],
        "trained_until": _column("datetime64[ns]", "The last day that the model has seen."),
        "n_days": _column("int32", "Days of sales that it was fitted on.", pa.Check.ge(1)),
        "coefficients": _column("object", "Coefficients, one half-life after the other."),
        "residual_scale": _column(
            "float64", "Standard deviation of a log forecast's error.", pa.Check.gt(0)
        ),
    },
    unique=["store"],
    name="store_models",
    description="Fitted per-store models.",
)


def _ordered(frame: pd.DataFrame) -> pd.Series:
    values = frame[list(QUANTILE_COLUMNS)].to_numpy()
    return pd.Series((values[:, 1:] >= values[:, :-1]).all(axis=1), index=frame.index)


def _closed_is_zero(frame: pd.DataFrame) -> pd.Series:
    values = frame[["point", "mean", *QUANTILE_COLUMNS]].to_numpy()
    return pd.Series((frame["open"].to_numpy() == 1) | (values == 0).all(axis=1), frame.index)


def _never_before_origin(frame: pd.DataFrame) -> pd.Series:
    return (frame["date"] - frame["origin"]).dt.days == frame["horizon"]


FORECASTS = pa.DataFrameSchema(
    {
        "store": _KEY["store"],
        "origin": _column("datetime64[ns]", "The last day whose sales the forecast has seen."),
        "date": _column("datetime64[ns]", "The day that is forecast."),
        "horizon": _column("int16", "Days from origin to date.", pa.Check.ge(1)),
        "open": _column("int16", "1 when the plan has the store open.", pa.Check.isin([0, 1])),
        "point": _column(
            "float64", "The forecast suited to the error measure in force.", pa.Check.ge(0)
        ),
        "mean": _column("float64", "The forecast to add up for totals.", pa.Check.ge(0)),
        **{
            name: _column(
                "float64", f"Sales stay below with probability {level:g}.", pa.Check.ge(0)
            )
            for name, level in zip(QUANTILE_COLUMNS, QUANTILES, strict=True)
        },
        "plan_assumed": _column("bool", FEATURE_DESCRIPTIONS["plan_assumed"]),
    },
    checks=[
        pa.Check(_ordered, name="quantiles_ordered", error="quantiles cross"),
        pa.Check(_closed_is_zero, name="closed_is_zero", error="a closed day is not 0"),
        pa.Check(
            _never_before_origin, name="horizon_matches", error="horizon is not date - origin"
        ),
    ],
    unique=["store", "origin", "date"],
    name="forecasts",
    description="Forecasts with their quantiles.",
)


def descriptions(schema: pa.DataFrameSchema) -> dict[str, str]:
    """Give the description of every column of a schema."""
    return {name: column.description or "" for name, column in schema.columns.items()}
