"""Columns of the tables behind the assets: name, PostgreSQL type and description.

The UI and the schemas of frames show these descriptions. Nothing heavy is imported, because
loading the definitions imports this module. Checks of values live in `frames.py`.
"""

from __future__ import annotations

from typing import NamedTuple

from forecasting.columns import PLAN_COLUMNS, QUANTILES, quantile_column


class Column(NamedTuple):
    """A column of a table."""

    name: str
    type: str
    description: str


_STORE = Column("store", "integer", "The store's number.")
_DATE = Column("date", "date", "The day, at midnight.")
_WEEKDAY = Column("day_of_week", "smallint", "1 is Monday, 7 is Sunday.")
_ASSUMED = Column(
    "plan_assumed",
    "boolean",
    "True when the day has no plan and the usual pattern is assumed.",
)
_WRITTEN = Column("written_at", "timestamp with time zone", "When the row was written.")
_MODEL_VERSION = Column(
    "model_version",
    "text",
    "The pooled model's version; missing if none was trained by the origin.",
)
_EVENT = (
    Column("stream_id", "smallint", "The topic or file that the event came from."),
    Column("topic_partition", "integer", "The event's topic-partition."),
    Column(
        "kafka_offset",
        "bigint",
        "The event's offset in its topic-partition; for a file, the row number.",
    ),
    Column(
        "event_time",
        "timestamp with time zone",
        "When the event was sent. The latest event of a day counts.",
    ),
)
_DAY = (
    _STORE,
    _DATE,
    _WEEKDAY,
    Column("sales", "integer", "Turnover of the day; missing until it is known."),
    Column("customers", "integer", "Customers of the day."),
    Column("open", "smallint", "1 when the store is open."),
    Column("promo", "smallint", "1 when the store runs a promo."),
    Column("state_holiday", "text", "0 none, a public holiday, b Easter, c Christmas."),
    Column("school_holiday", "smallint", "1 when the schools nearby are closed."),
)
_FEATURES = (
    _STORE,
    _DATE,
    _WEEKDAY,
    Column("open", "smallint", "1 when the store is (or will be) open."),
    Column("promo", "smallint", "1 on promo days."),
    Column("state_holiday", "smallint", "0 none, 1 public holiday, 2 Easter, 3 Christmas."),
    Column("school_holiday", "smallint", "1 when the schools nearby are closed."),
    Column(
        "log_sales",
        "real",
        "Natural logarithm of sales; missing when closed, zero, not known, or of an unusual size "
        "that no second event confirms.",
    ),
    Column(
        "log_customers",
        "real",
        "Natural logarithm of customers; missing when closed, zero or not known.",
    ),
    *(
        Column(name, "smallint", description)
        for name, description in {
            "promo_day": "Day number within the current promo, from 1; 0 without promo.",
            "promo_days_left": "Promo days left in the block, this one included, at most 14.",
            "days_since_promo": "Days since the last promo day, at most 31; 0 on promo days.",
            "days_to_promo": "Days to the next promo day, at most 15; 0 on promo days.",
            "promo_days_last_14": "Promo days among the 14 days before.",
            "promo_days_next_14": "Promo days among the 14 days after.",
            "days_since_holiday": "Days since the last state holiday, at most 31.",
            "days_to_holiday": "Days to the next state holiday, at most 15.",
            "school_day": "Day number within the school holidays, at most 30; 0 outside.",
            "school_days_left": (
                "Days of school holidays left, this one included, at most 14; 0 outside."
            ),
            "days_since_school": "Days since the last school holiday, at most 31.",
            "days_to_school": "Days to the next school holiday, at most 15.",
            "closed_days_before": "Closed days in a row just before, at most 30.",
            "closed_days_after": "Closed days in a row just after, at most 14.",
            "open_days_week": "Open days of the Monday-to-Sunday week.",
            "days_since_refurbishment": (
                "Days since a closure of 6 days or more ended, at most 91."
            ),
            "days_to_refurbishment": "Days to the next such closure, at most 10.",
            "refurbishment_days": "Length of the last such closure, at most 60 days; 0 if none.",
            "days_to_christmas": "Days to the next 25 December.",
            "days_from_easter": "Days from the nearest Easter Sunday, negative before it.",
        }.items()
    ),
    _ASSUMED,
)
_STORE_MODELS = (
    _STORE,
    Column("trained_until", "date", "The last day that the model has seen."),
    Column("n_days", "integer", "Days of sales that the model was fitted on."),
    Column("coefficients", "double precision[]", "Coefficients, concatenated by half-life."),
    Column("residual_scale", "double precision", "Standard deviation of a log forecast's error."),
    Column("largest_day", "double precision", "Sales of the store's largest day."),
    Column("median_day", "double precision", "Sales of the store's median open day."),
)
_FORECASTS = (
    _STORE,
    Column("origin", "date", "The last day whose sales the forecast has seen."),
    Column("date", "date", "The day that is forecast."),
    Column("horizon", "smallint", "Days from origin to date."),
    Column("open", "smallint", "1 when the store is open according to the plan."),
    Column(
        "point", "double precision", "The forecast that minimizes the configured error measure."
    ),
    Column("mean", "double precision", "The forecast to add up for totals."),
    *(
        Column(
            quantile_column(level),
            "double precision",
            f"Sales are below this value with probability {level:g}.",
        )
        for level in QUANTILES
    ),
    _ASSUMED,
    Column(
        "limited",
        "boolean",
        "True when a value was cut to what the store can sell at most: 1.2 times its largest day, "
        "or, with less than a year of sales, what stores sell on their largest day.",
    ),
)

#: Columns by table.
TABLES: dict[str, tuple[Column, ...]] = {
    "raw_sales": (
        *_EVENT,
        Column("ingest_time", "timestamp with time zone", "When the event was stored."),
        *_DAY,
    ),
    "cleaned_sales": (
        *_DAY,
        Column(
            "corrections", "integer", "Number of earlier events of the day that were superseded."
        ),
        *_EVENT,
        _WRITTEN,
    ),
    "features": (*_FEATURES, _WRITTEN),
    "pooled_models": (
        Column("version", "text", "The version that forecasts refer to."),
        Column("period_start", "date", "First day of the period that the model was trained for."),
        Column("trained_until", "date", "The last day that the model has seen."),
        Column("created_at", "timestamp with time zone", "When the model was stored."),
        Column("recipe", "text", "ridge, or stack with LightGBM on top."),
        Column("mlflow_run_id", "text", "The MLflow run that logged the model."),
        Column("metrics", "jsonb", "The model's accuracy on past origins."),
        Column("model", "bytea", "The model itself, compressed JSON."),
        Column("format", "text", "Fingerprint of the code that can read the model."),
        Column("mlflow_version", "text", "The version in MLflow's model sales-forecast."),
    ),
    "models": (
        *_STORE_MODELS,
        Column("period_start", "date", "First day of the period that the model serves."),
        Column("pooled_version", "text", "Version of the pooled model that it was shrunk to."),
        _WRITTEN,
    ),
    "forecasts": (
        *_FORECASTS,
        Column("kind", "text", "issued: what planners saw. backtest: from a past partition."),
        _MODEL_VERSION,
        Column("refresh_id", "text", "The Dagster run that wrote the row."),
        _WRITTEN,
    ),
    "forecast_accuracy": (
        Column("kind", "text", "issued or backtest."),
        _STORE,
        Column("date", "date", "The day that had been forecast."),
        Column("lead_week", "smallint", "1 is up to 7 days ahead, 2 up to 14, and so on."),
        Column("origin", "date", "A backtest's origin; missing for issued forecasts."),
        _MODEL_VERSION,
        Column("forecasts", "smallint", "Number of forecasts in the sums."),
        Column("sold", "smallint", "Number of forecasts of days with sales."),
        Column("sales", "double precision", "Sum of sales, counted once per forecast."),
        Column("mean", "double precision", "Sum of the mean forecasts."),
        Column("absolute_error", "double precision", "Sum of |sales - q0_5|."),
        Column(
            "squared_percent_error",
            "double precision",
            "Sum of ((sales - point) / sales)² over days with sales.",
        ),
        Column("inside_80", "smallint", "Number of `sold` inside the 80 % interval."),
        Column("inside_95", "smallint", "Number of `sold` inside the 95 % interval."),
        _WRITTEN,
    ),
}

_PLAN = tuple(column for column in _DAY if column.name in {"store", "date", *PLAN_COLUMNS})

#: Columns of what the graph reads and does not make. Those of the topic are the fields of an event.
SOURCES: dict[str, tuple[Column, ...]] = {
    "sales_topic": tuple(
        Column(name, kind, column.description)
        for (name, kind), column in zip(
            {
                "Store": "number",
                "Date": "string",
                "DayOfWeek": "number",
                "Sales": "number",
                "Customers": "number",
                "Open": "number",
                "Promo": "number",
                "StateHoliday": "string",
                "SchoolHoliday": "number",
            }.items(),
            _DAY,
            strict=True,
        )
    ),
    "quarantined_events": (
        *_EVENT,
        Column("ingest_time", "timestamp with time zone", "When it was stored."),
        Column("key", "bytea", "The event's key, as it came."),
        Column("value", "bytea", "The event's value, as it came."),
        Column("reason", "text", "The reason code; docs/streaming.md explains each."),
        Column("detail", "text", "What was wrong, where a code alone does not say it."),
    ),
    "stores": (
        _STORE,
        Column("store_type", "text", "Kind of store: a to d."),
        Column("assortment", "text", "Assortment: a basic, b extra, c extended."),
        Column("competition_distance", "double precision", "Metres to the nearest competitor."),
        Column("competition_open_since_month", "smallint", "Month in which it opened."),
        Column("competition_open_since_year", "smallint", "Year in which it opened."),
        Column("promo2", "smallint", "1 when the store takes part in the long-running promo."),
        Column("promo2_since_week", "smallint", "Week since which it does."),
        Column("promo2_since_year", "smallint", "Year since which it does."),
        Column("promo_interval", "text", "Months in which that promo starts anew."),
    ),
    "planned_days": (
        *_PLAN,
        Column("event_time", "timestamp with time zone", "When the plan was sent."),
    ),
}

#: Description of each column by frame.
FRAMES: dict[str, dict[str, str]] = {
    "days": {column.name: column.description for column in _DAY},
    "features": {column.name: column.description for column in _FEATURES},
    "store_models": {column.name: column.description for column in _STORE_MODELS},
    "forecasts": {column.name: column.description for column in _FORECASTS},
}

#: Table that holds the rows of each asset.
ASSET_TABLES: dict[str, str] = {
    "raw_sales": "raw_sales",
    "cleaned_sales": "cleaned_sales",
    "features": "features",
    "pooled_model": "pooled_models",
    "store_models": "models",
    "forecasts": "forecasts",
    "forecast_accuracy": "forecast_accuracy",
}

#: Source column of a feature, by the first of these words that its name contains.
_FEATURE_SOURCES = (
    ("log_sales", "sales"),
    ("log_customers", "customers"),
    ("promo", "promo"),
    ("school", "school_holiday"),
    ("holiday", "state_holiday"),
    ("refurbishment", "open"),
    ("closed", "open"),
    ("open", "open"),
)

#: Source (asset, column) pairs of each column.
Lineage = dict[str, tuple[tuple[str, str], ...]]


def _feature_lineage() -> Lineage:
    lineage: Lineage = {}
    for column in _FEATURES:
        source = next((source for word, source in _FEATURE_SOURCES if word in column.name), "date")
        if column.name == "store":
            source = "store"
        if column.name != "plan_assumed":
            lineage[column.name] = (("cleaned_sales", source),)
    return lineage


_FITTED = tuple(("features", column.name) for column in _FEATURES if column.name != "plan_assumed")
_FORECAST_SOURCES = (("store_models", "coefficients"), ("store_models", "residual_scale"))

#: Columns of other assets that each column is computed from, by asset and column.
LINEAGE: dict[str, Lineage] = {
    "cleaned_sales": {
        **{column.name: (("raw_sales", column.name),) for column in (*_DAY, *_EVENT)},
        "corrections": (("raw_sales", "event_time"),),
    },
    "features": _feature_lineage(),
    "store_models": {
        "store": (("features", "store"),),
        "trained_until": (("features", "date"),),
        "n_days": (("features", "log_sales"),),
        "coefficients": (*_FITTED, ("pooled_model", "model")),
        "residual_scale": (*_FITTED, ("pooled_model", "model")),
        "largest_day": (("features", "log_sales"),),
        "median_day": (("features", "log_sales"),),
        "pooled_version": (("pooled_model", "version"),),
    },
    "forecasts": {
        "store": (("store_models", "store"),),
        "origin": (("features", "date"),),
        "model_version": (("store_models", "pooled_version"),),
        **dict.fromkeys(
            ("point", "mean", *(quantile_column(level) for level in QUANTILES)),
            (*_FORECAST_SOURCES, ("features", "log_sales")),
        ),
        "limited": (*_FORECAST_SOURCES, ("store_models", "largest_day")),
    },
    "forecast_accuracy": {
        "store": (("forecasts", "store"),),
        "date": (("forecasts", "date"),),
        "lead_week": (("forecasts", "horizon"),),
        "kind": (("forecasts", "kind"),),
        "origin": (("forecasts", "origin"),),
        "model_version": (("forecasts", "model_version"),),
        "sales": (("cleaned_sales", "sales"),),
        "mean": (("forecasts", "mean"),),
        "absolute_error": (("forecasts", "q0_5"), ("cleaned_sales", "sales")),
        "squared_percent_error": (("forecasts", "point"), ("cleaned_sales", "sales")),
        "inside_80": (
            ("forecasts", "q0_1"),
            ("forecasts", "q0_9"),
            ("cleaned_sales", "sales"),
        ),
        "inside_95": (
            ("forecasts", "q0_025"),
            ("forecasts", "q0_975"),
            ("cleaned_sales", "sales"),
        ),
    },
}
