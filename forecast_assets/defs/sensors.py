"""Sensors: they look at the `changes` ledger and ask for runs; they compute nothing."""

import hashlib
import time
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta

import dagster as dg
from dagster._core.storage.dagster_run import FINISHED_STATUSES, IN_PROGRESS_RUN_STATUSES
from dagster._core.storage.tags import (
    ASSET_PARTITION_RANGE_END_TAG,
    ASSET_PARTITION_RANGE_START_TAG,
    MAX_RETRIES_TAG,
    PRIORITY_TAG,
)

from forecast_assets.defs.jobs import freshness, refresh, train
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
TRAININGS = dg.RunsFilter(job_name=train.name)
WAITING_OR_RUNNING = [dg.DagsterRunStatus.QUEUED, *IN_PROGRESS_RUN_STATUSES]

INTERVAL_SECONDS = 5
"""The daemon's loop is no faster than this."""

LINGER_SECONDS = 4.0
LOOK_AGAIN_SECONDS = 0.2
"""A tick without work keeps looking for most of the daemon's interval: what changes meanwhile is
refreshed seconds earlier. The daemon's threads let the other sensors tick beside it."""

SETTLED_SECONDS = 0.8
"""A day's events are committed by several tasks in short succession: they belong in one refresh."""

SLIPPED_INTERVAL_SECONDS = 60
"""Days of sales arrive once a day: no need to ask more often."""

STALE_INTERVAL_SECONDS = 60
"""Forecasts become stale after minutes: no need to look more often."""

SLIPPED_TAG = "forecast/slipped"
"""Says on a training run why it was asked for."""


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
    from forecast_assets.planning.partition_cells import cells_since
    from forecast_assets.planning.refresh import Seen, Wait, decide
    from warehouse import changes, sales

    chosen = settings()
    until = time.monotonic() + LINGER_SECONDS
    with warehouse.transaction() as transaction:
        _linger(lambda: changes.have_settled(transaction, SETTLED_SECONDS), until)
    idle = _linger(lambda: not _in_flight(context.instance, REFRESHES), until)
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
            in_flight=not idle,
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
                    # Before the runs of a backfill that wait in the queue.
                    PRIORITY_TAG: "1",
                    # What has changed meanwhile belongs into the next try: a run of its own.
                    MAX_RETRIES_TAG: "0",
                },
            )
        ]
    )


@dg.sensor(
    job=train,
    minimum_interval_seconds=INTERVAL_SECONDS,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description=(
        "Trains a pooled model as soon as there are features to train on and none that this "
        "version can read: at the start, and after an upgrade that changed the models."
    ),
)
def train_when_untrained(
    context: dg.SensorEvaluationContext, warehouse: WarehouseResource
) -> dg.RunRequest | dg.SkipReason:
    """Asks for the first training of a model format; later ones are the schedule's."""
    from forecast_assets.planning.refresh import next_try
    from forecasting.models.model_format import MODEL_FORMAT
    from warehouse import changes, models

    with warehouse.transaction() as transaction:
        trained = models.count_pooled(transaction)
        newest = models.newest_feature_day(transaction)
        waiting = changes.open_changes(transaction)
    if trained:
        return dg.SkipReason("a pooled model is there; the schedule trains the next")
    if waiting is not None or newest is None:
        # In the middle of a first refresh there are features, but not of the newest days yet.
        return dg.SkipReason("a refresh comes first: it makes the features to train on")
    key = _partition_of(newest)
    if key is None:
        return dg.SkipReason(f"the newest features, of {newest}, lie outside the calendar")
    if _in_flight(context.instance, TRAININGS):
        return dg.SkipReason("training is under way")
    failures, last_failure = _failures(context.instance, TRAININGS)
    again = next_try(failures, last_failure)
    if again is not None and datetime.now(UTC) < again:
        return dg.SkipReason(f"training has failed; the next try is at {again:%H:%M:%S} UTC")
    return dg.RunRequest(run_key=f"first-{MODEL_FORMAT}-{newest}-{failures}", partition_key=key)


@dg.sensor(
    job=train,
    minimum_interval_seconds=SLIPPED_INTERVAL_SECONDS,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description=(
        "Trains a new pooled model when the serving one's forecasts have become clearly worse "
        "than when it was calibrated. Looks once for each new day of sales."
    ),
)
def train_when_slipped(
    context: dg.SensorEvaluationContext, warehouse: WarehouseResource
) -> dg.SensorResult:
    """Asks for a training when recent forecasts were worse than promised."""
    from forecast_assets.planning.refresh import Wait
    from forecast_assets.planning.retrain import Record, decide
    from forecasting.evaluation.accuracy import Accuracy
    from warehouse import accuracy, models

    chosen = settings()
    with warehouse.transaction() as transaction:
        newest = accuracy.newest_day(transaction)
        if newest is None or str(newest) == context.cursor:
            return dg.SensorResult(skip_reason=f"no day has been scored since {context.cursor}")
        if _in_flight(context.instance, TRAININGS):
            return dg.SensorResult(skip_reason="training is under way")
        champion = models.pooled_for(transaction, date.max)
        trainable = models.newest_feature_day(transaction)
        if champion is None or trainable is None:
            return dg.SensorResult(skip_reason="no pooled model serves yet")
        sums = accuracy.of_version(
            transaction, champion.version, newest - timedelta(days=chosen.retrain_days - 1)
        )
    decision = decide(
        Record(
            version=champion.version,
            calibrated_wape=champion.metrics.get("wape"),
            days=sums["days"],
            wape=Accuracy.of([sums]).wape,
            newest_day=newest,
        ),
        chosen.retrain_factor,
    )
    if isinstance(decision, Wait):
        return dg.SensorResult(skip_reason=decision.reason, cursor=str(newest))
    key = _partition_of(trainable)
    if key is None:
        return dg.SensorResult(
            skip_reason=f"{decision.reason}; the newest features, of {trainable}, lie outside "
            "the calendar",
            cursor=str(newest),
        )
    context.log.info(decision.reason)
    return dg.SensorResult(
        run_requests=[
            dg.RunRequest(
                run_key=decision.run_key, partition_key=key, tags={SLIPPED_TAG: decision.reason}
            )
        ],
        cursor=str(newest),
    )


@dg.sensor(
    job=freshness,
    minimum_interval_seconds=STALE_INTERVAL_SECONDS,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description=(
        "Has the freshness check made again when other stores' forecasts have become stale, or "
        "when they are fresh again: a refresh that fails does not come to its checks."
    ),
)
def look_when_stale(
    context: dg.SensorEvaluationContext, warehouse: WarehouseResource
) -> dg.SensorResult:
    """Asks for the freshness check when what it would say has changed."""
    from warehouse import changes

    with warehouse.transaction() as transaction:
        late = changes.overdue(transaction, settings().max_open_minutes)
    seen = ",".join(f"{row['store']}:{row['first_day']}:{row['error'] or ''}" for row in late)
    cursor = hashlib.sha256(seen.encode()).hexdigest() if late else ""
    if cursor == (context.cursor or ""):
        return dg.SensorResult(skip_reason=f"{len(late)} stores are late, as before")
    return dg.SensorResult(run_requests=[dg.RunRequest()], cursor=cursor)


def _partition_of(day: date) -> str | None:
    """The date partition that holds a day; None outside the calendar."""
    from forecast_assets.planning.calendar import period_start

    key = str(period_start(day, settings().date_grain))
    return key if key in dates.get_partition_keys() else None


def _linger(done: Callable[[], bool], until: float) -> bool:
    """Waits for a condition until a time of the monotonic clock; whether it came to hold."""
    while not done():
        if time.monotonic() >= until:
            return False
        time.sleep(LOOK_AGAIN_SECONDS)
    return True


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
