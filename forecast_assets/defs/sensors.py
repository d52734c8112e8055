"""Sensors: they look at the `changes` ledger and ask for runs; they compute nothing."""

from datetime import UTC, datetime

import dagster as dg
from dagster._core.storage.dagster_run import FINISHED_STATUSES, IN_PROGRESS_RUN_STATUSES
from dagster._core.storage.tags import (
    ASSET_PARTITION_RANGE_END_TAG,
    ASSET_PARTITION_RANGE_START_TAG,
)

from forecast_assets.defs.jobs import refresh, train
from forecast_assets.defs.partitions import (
    STORE_DIMENSION,
    dates,
    partition_key,
    refuse_too_many,
)
from forecast_assets.defs.resources import WarehouseResource
from forecast_assets.defs.scope import REFRESH_TAG
from forecast_assets.settings import settings

REFRESHES = dg.RunsFilter(tags={REFRESH_TAG: "true"})
WAITING_OR_RUNNING = [dg.DagsterRunStatus.QUEUED, *IN_PROGRESS_RUN_STATUSES]

INTERVAL_SECONDS = 5
"""The daemon's loop is no faster than this."""


@dg.sensor(
    job=refresh,
    minimum_interval_seconds=INTERVAL_SECONDS,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description=(
        "Looks for changes that no refresh has worked off yet, and asks for one run that covers "
        "them. Keeps the store partitions in step with the store table."
    ),
)
def refresh_when_changed(
    context: dg.SensorEvaluationContext, warehouse: WarehouseResource
) -> dg.SensorResult | dg.SkipReason:
    """Asks for a refresh of what has changed, unless one is in flight."""
    from forecast_assets.core.cells import cells_since
    from forecast_assets.core.refresh import Seen, Wait, decide
    from forecast_assets.warehouse import changes, sales

    chosen = settings()
    with warehouse.transaction() as transaction:
        stores = sales.stores(transaction)
        waiting = changes.open_changes(transaction)
        newest = (
            sales.newest_days(transaction, "raw_sales", list(waiting.first_days)) if waiting else {}
        )
    today = datetime.now(UTC).date()
    refuse_too_many(len(stores), chosen, today)
    known = context.instance.get_dynamic_partitions(STORE_DIMENSION)
    missing = sorted(set(stores) - {int(key) for key in known})
    if missing:
        context.instance.add_dynamic_partitions(STORE_DIMENSION, [str(key) for key in missing])
    ordered = [int(key) for key in known] + missing
    failures, last_failure = _failures(context.instance, REFRESHES)
    decision = decide(
        Seen(
            cells=cells_since(waiting.first_days, newest, chosen.date_grain) if waiting else {},
            newest_change=waiting.newest_id if waiting else 0,
            in_flight=_in_flight(context.instance, REFRESHES),
            failures=failures,
            last_failure=last_failure,
            now=datetime.now(UTC),
        ),
        ordered,
    )
    if isinstance(decision, Wait):
        return dg.SkipReason(decision.reason)
    return dg.SensorResult(
        run_requests=[
            dg.RunRequest(
                run_key=decision.run_key,
                tags={
                    ASSET_PARTITION_RANGE_START_TAG: partition_key(
                        decision.first_period, decision.first_store
                    ),
                    ASSET_PARTITION_RANGE_END_TAG: partition_key(
                        decision.last_period, decision.last_store
                    ),
                    REFRESH_TAG: "true",
                },
            )
        ]
    )


@dg.sensor(
    job=train,
    minimum_interval_seconds=INTERVAL_SECONDS,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Trains the first pooled model as soon as there are features to train on.",
)
def train_when_untrained(
    context: dg.SensorEvaluationContext, warehouse: WarehouseResource
) -> dg.RunRequest | dg.SkipReason:
    """Asks for the first training; later ones are the schedule's."""
    from forecast_assets.core.periods import period_start
    from forecast_assets.core.refresh import next_try
    from forecast_assets.warehouse import changes, models

    with warehouse.transaction() as transaction:
        trained = models.count_pooled(transaction)
        newest = models.newest_feature_day(transaction)
        waiting = changes.open_changes(transaction)
    if trained:
        return dg.SkipReason("a pooled model is there; the schedule trains the next")
    if waiting is not None or newest is None:
        # In the middle of a first refresh there are features, but not of the newest days yet.
        return dg.SkipReason("a refresh comes first: it makes the features to train on")
    key = str(period_start(newest, settings().date_grain))
    if key not in dates.get_partition_keys():
        return dg.SkipReason(f"the newest features, of {newest}, lie outside the calendar")
    if _in_flight(context.instance, dg.RunsFilter(job_name=train.name)):
        return dg.SkipReason("training is under way")
    failures, last_failure = _failures(context.instance, dg.RunsFilter(job_name=train.name))
    again = next_try(failures, last_failure)
    if again is not None and datetime.now(UTC) < again:
        return dg.SkipReason(f"training has failed; the next try is at {again:%H:%M:%S} UTC")
    return dg.RunRequest(run_key=f"first-{failures}", partition_key=key)


def _in_flight(instance: dg.DagsterInstance, runs: dg.RunsFilter) -> bool:
    """Whether any of some runs waits or runs."""
    wanted = dg.RunsFilter(job_name=runs.job_name, tags=runs.tags, statuses=WAITING_OR_RUNNING)
    return bool(instance.get_run_ids(wanted, limit=1))


def _failures(instance: dg.DagsterInstance, runs: dg.RunsFilter) -> tuple[int, datetime | None]:
    """How many of the newest runs failed in a row, and when the last of them ended."""
    records = instance.get_run_records(
        dg.RunsFilter(job_name=runs.job_name, tags=runs.tags, statuses=FINISHED_STATUSES), limit=10
    )
    count, ended = 0, None
    for record in records:
        if record.dagster_run.status == dg.DagsterRunStatus.SUCCESS:
            break
        count += 1
        if ended is None and record.end_time is not None:
            ended = datetime.fromtimestamp(record.end_time, UTC)
    return count, ended
