"""Schemas of the frames that assets exchange, with a description of every column.

A frame must satisfy its schema before it is used or stored. `DAYS.validate(frame, lazy=True)`
reports all failures at once. The descriptions live in `columns.py`.
"""

from __future__ import annotations

import pandas as pd

from forecasting.columns import QUANTILE_COLUMNS
from forecasting.features.daily import FEATURE_COLUMNS, STATE_HOLIDAY_CODES
from forecasting.schemas.columns import FRAMES
from forecasting.schemas.lean import pa

_PANDAS_TYPES = {"int2": "int16", "int4": "int32", "float4": "float32", "bool": "bool"}


def _column(kind: str, description: str, *checks: pa.Check, nullable: bool = False) -> pa.Column:
    return pa.Column(kind, checks=list(checks), nullable=nullable, description=description)


_DAYS, _FEATURES = FRAMES["days"], FRAMES["features"]
_MODELS, _FORECASTS = FRAMES["store_models"], FRAMES["forecasts"]
_KEY = {
    "store": _column("int32", _DAYS["store"], pa.Check.ge(1)),
    "date": _column("datetime64[ns]", _DAYS["date"]),
}

DAYS = pa.DataFrameSchema(
    {
        **_KEY,
        "day_of_week": _column("int16", _DAYS["day_of_week"], pa.Check.in_range(1, 7)),
        "sales": _column(
            "float64",
            _DAYS["sales"],
            pa.Check.ge(0),
            nullable=True,
        ),
        "customers": _column("float64", _DAYS["customers"], pa.Check.ge(0), nullable=True),
        "open": _column("int16", _DAYS["open"], pa.Check.isin([0, 1])),
        "promo": _column("int16", _DAYS["promo"], pa.Check.isin([0, 1])),
        "state_holiday": _column(
            "str",
            _DAYS["state_holiday"],
            pa.Check.isin(list(STATE_HOLIDAY_CODES)),
        ),
        "school_holiday": _column("int16", _DAYS["school_holiday"], pa.Check.isin([0, 1])),
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
    description="The day panel: the sales and the plan of a store on a day.",
)

FEATURES = pa.DataFrameSchema(
    {
        **_KEY,
        **{
            name: _column(_PANDAS_TYPES[kind], _FEATURES[name], nullable=kind == "float4")
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
        "trained_until": _column("datetime64[ns]", _MODELS["trained_until"]),
        "n_days": _column("int32", _MODELS["n_days"], pa.Check.ge(1)),
        "coefficients": _column("object", _MODELS["coefficients"]),
        "residual_scale": _column("float64", _MODELS["residual_scale"], pa.Check.gt(0)),
        "largest_day": _column("float64", _MODELS["largest_day"], pa.Check.gt(0)),
        "median_day": _column("float64", _MODELS["median_day"], pa.Check.gt(0)),
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


def _horizon_matches(frame: pd.DataFrame) -> pd.Series:
    return (frame["date"] - frame["origin"]).dt.days == frame["horizon"]


FORECASTS = pa.DataFrameSchema(
    {
        "store": _KEY["store"],
        "origin": _column("datetime64[ns]", _FORECASTS["origin"]),
        "date": _column("datetime64[ns]", _FORECASTS["date"]),
        "horizon": _column("int16", _FORECASTS["horizon"], pa.Check.ge(1)),
        "open": _column("int16", _FORECASTS["open"], pa.Check.isin([0, 1])),
        "point": _column("float64", _FORECASTS["point"], pa.Check.ge(0)),
        "mean": _column("float64", _FORECASTS["mean"], pa.Check.ge(0)),
        **{name: _column("float64", _FORECASTS[name], pa.Check.ge(0)) for name in QUANTILE_COLUMNS},
        "plan_assumed": _column("bool", _FORECASTS["plan_assumed"]),
        "limited": _column("bool", _FORECASTS["limited"]),
    },
    checks=[
        pa.Check(_ordered, name="quantiles_ordered", error="quantiles cross"),
        pa.Check(_closed_is_zero, name="closed_is_zero", error="a closed day is not 0"),
        pa.Check(_horizon_matches, name="horizon_matches", error="horizon is not date - origin"),
    ],
    unique=["store", "origin", "date"],
    name="forecasts",
    description="Forecasts with their quantiles.",
)


def descriptions(schema: pa.DataFrameSchema) -> dict[str, str]:
    """Return the description of every column of a schema."""
    return {name: column.description or "" for name, column in schema.columns.items()}
