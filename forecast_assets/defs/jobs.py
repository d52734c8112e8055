"""The jobs that sensors and schedules run.

Refresh and training are separate jobs because their assets have different partitions. The nightly
cleanup is in `retention.py`.
"""

import dagster as dg

from forecast_assets.defs.checks import WATCHED

MAX_RUNTIME_TAG = "dagster/max_runtime_seconds"

#: Dagster's run monitoring ends runs that take longer than this, because they must be orphaned or
#: hung.
REFRESH_LIMIT_SECONDS = 30 * 60
TRAIN_LIMIT_SECONDS = 60 * 60

#: Tag of a training run that must finish quickly and therefore does not compare recipes.
FIRST_TRAINING_TAG = "forecast/first_training"

REFRESHED = (
    "raw_sales",
    "cleaned_sales",
    "features",
    "store_models",
    "forecasts",
    "forecast_accuracy",
)

#: The checks whose results change without a run; `checks.py` says why.
HEALTH = dg.AssetSelection.checks(*(spec.key for spec, _ in WATCHED.values()))

refresh = dg.define_asset_job(
    "refresh",
    # A refresh that fails cannot report that forecasts are stale, so `freshness` is a separate job.
    selection=dg.AssetSelection.assets(*REFRESHED) - HEALTH,
    tags={MAX_RUNTIME_TAG: str(REFRESH_LIMIT_SECONDS)},
    description=(
        "Updates sales, features, models and forecasts for a range of months and stores, and "
        "scores the forecasts for days whose sales are now known. A sensor requests it when "
        "something changes."
    ),
)

train = dg.define_asset_job(
    "train",
    selection=["pooled_model"],
    tags={MAX_RUNTIME_TAG: str(TRAIN_LIMIT_SECONDS)},
    description="Trains the pooled model on all sales up to the end of a month.",
)

freshness = dg.define_asset_job(
    "freshness",
    selection=HEALTH,
    description=(
        "Re-evaluates the checks whose results change without a run: whether forecasts are fresh, "
        "sales arrive, the stream runs, few events are quarantined and sales have a usual size."
    ),
)
