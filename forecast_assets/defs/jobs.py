"""Jobs: one refreshes, one trains; their assets have different partitions, so they are two."""

import dagster as dg

MAX_RUNTIME_TAG = "dagster/max_runtime_seconds"

REFRESH_LIMIT_SECONDS = 30 * 60
TRAIN_LIMIT_SECONDS = 60 * 60
"""A run that lasts longer is orphaned or hung; Dagster's run monitoring ends it."""

REFRESHED = (
    "raw_sales",
    "cleaned_sales",
    "features",
    "store_models",
    "forecasts",
    "forecast_accuracy",
)

FRESH = dg.AssetSelection.checks(dg.AssetCheckKey(dg.AssetKey("forecasts"), "fresh"))

refresh = dg.define_asset_job(
    "refresh",
    # A refresh that fails cannot say that forecasts are stale: a job of its own looks.
    selection=dg.AssetSelection.assets(*REFRESHED) - FRESH,
    tags={MAX_RUNTIME_TAG: str(REFRESH_LIMIT_SECONDS)},
    description=(
        "Brings sales, features, models and forecasts up to date for a range of months and "
        "stores, and scores forecasts whose days are known. The sensor asks for it when something "
        "has changed."
    ),
)

train = dg.define_asset_job(
    "train",
    selection=["pooled_model"],
    tags={MAX_RUNTIME_TAG: str(TRAIN_LIMIT_SECONDS)},
    description="Trains the pooled model on everything up to the end of a month.",
)

freshness = dg.define_asset_job(
    "freshness",
    selection=FRESH,
    description="Looks whether forecasts are stale; a refresh that fails cannot say so itself.",
)
