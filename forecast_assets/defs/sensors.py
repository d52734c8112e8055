"""Sensors that react to the change ledger and to the champion's accuracy.

A sensor here only reads state, asks for a decision and returns run requests. The decisions are
pure functions in `planning/decisions.py`; sensors that send messages to people are in `alerts.py`.
"""

import time
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING

import dagster as dg
from dagster._core.storage.dagster_run import FINISHED_STATUSES, IN_PROGRESS_RUN_STATUSES
from dagster._core.storage.tags import (
    ASSET_PARTITION_RANGE_END_TAG,
    ASSET_PARTITION_RANGE_START_TAG,
    MAX_RETRIES_TAG,
    PRIORITY_TAG,
)

from forecast_assets.defs.jobs import FIRST_TRAINING_TAG, freshness, refresh, train
from forecast_assets.defs.partitions import (
    STORE_DIMENSION,
    covered_days,
    dates,
    partition_key,
    partitions_warning,
    store_of,
)
from forecast_assets.defs.resources import WarehouseResource
from forecast_assets.defs.scope import REFRESH_TAG, agree_on_calendar
from forecast_assets.instance.run_launcher import NICENESS_TAG
from forecast_assets.settings import settings

if TYPE_CHECKING:
    from forecast_assets.planning.decisions import (
        ChampionState,
        PastRuns,
        Refresh,
        Skip,
        Training,
        TrainingState,
    )

REFRESHES = dg.RunsFilter(tags={REFRESH_TAG: "true"})
TRAININGS = dg.RunsFilter(job_name=train.name)
#: Failures in a row are counted up to here: by then the wait has reached its longest.
COUNTED_FAILURES = 10
QUEUED_OR_RUNNING = [dg.DagsterRunStatus.QUEUED, *IN_PROGRESS_RUN_STATUSES]

#: Seconds between two ticks. The daemon's loop is no faster than this.
INTERVAL_SECONDS = 5

#: A tick that finds no work waits on for most of the daemon's interval, so that a change that
#: arrives meanwhile is refreshed seconds earlier. Other sensors tick in other threads.
WAIT_SECONDS = 4.0
#: How often it looks whether the refresh in flight has ended.
POLL_EVERY_SECONDS = 0.2

#: Several tasks commit one day's events in quick succession. Waiting until the ledger has been
#: quiet for this long lets them coalesce into one refresh.
SETTLED_SECONDS = 0.8

#: New days of sales arrive once a day, so checking more often gains nothing.
SLIPPED_INTERVAL_SECONDS = 60

#: Forecasts become stale within minutes, so checking more often gains nothing.
STALE_INTERVAL_SECONDS = 60

#: The comparison of recipes takes minutes, so its start may take half of one.
CHALLENGE_INTERVAL_SECONDS = 30

#: How much the comparison gives way to refreshes on the same processors (`nice`, 1 to 19).
CHALLENGE_NICENESS = 19

#: Run tag of a training: why the sensor requested it.
SLIPPED_TAG = "forecast/slipped"


@dg.sensor(
    job=refresh,
    minimum_interval_seconds=INTERVAL_SECONDS,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description=(
        "Requests one refresh for all changes that no refresh has processed yet. Adds a partition "
        "for each new store."
    ),
)
def refresh_when_changed(
    context: dg.SensorEvaluationContext, warehouse: WarehouseResource
) -> dg.SensorResult | dg.SkipReason:
    """Request a refresh of what has changed, unless one is in flight."""
    from forecast_assets.planning.decisions import RefreshState, Skip, refresh_decision
    from forecast_assets.planning.partition_cells import cells_since
    from warehouse import changes, sales

    until = time.monotonic() + WAIT_SECONDS
    with warehouse.transaction() as transaction:
        agree_on_calendar(transaction)
    _wait_for_changes(warehouse, until)
    _poll(lambda: not _in_flight(context.instance, REFRESHES), until)
    covered = covered_days()
    with warehouse.transaction() as transaction:
        stores = sales.stores(transaction)
        waiting = changes.open_changes(transaction)
        first_days = waiting.first_days if waiting else {}
        newest = sales.newest_days(transaction, "raw_sales", list(first_days), covered[1])
    decision = refresh_decision(
        RefreshState(
            cells=cells_since(first_days, newest, settings().calendar, covered),
            newest_change=waiting.newest_id if waiting else None,
            newest_period=settings().calendar.start_of(covered[1]),
            runs=_past_runs(context.instance, REFRESHES),
            now=datetime.now(UTC),
        ),
        _sync_store_partitions(context, stores),
    )
    if isinstance(decision, Skip):
        return dg.SkipReason(decision.reason)
    warning = partitions_warning(len(stores), settings(), datetime.now(UTC).date())
    if warning:
        context.log.warning(warning)
    return dg.SensorResult(run_requests=[_refresh_request(decision)])


def _sync_store_partitions(context: dg.SensorEvaluationContext, stores: list[int]) -> list[int]:
    """Add a partition for each new store; return all stores in the order of their partitions."""
    keys = context.instance.get_dynamic_partitions(STORE_DIMENSION)
    foreign = [key for key in keys if store_of(key) is None]
    if foreign:
        context.log.warning(
            f"partitions of the dimension {STORE_DIMENSION!r} that name no store are ignored: "
            f"{', '.join(foreign)}. Stores get their partitions by themselves; delete these keys"
        )
    known = [store for store in map(store_of, keys) if store is not None]
    missing = sorted(set(stores) - set(known))
    if missing:
        context.instance.add_dynamic_partitions(STORE_DIMENSION, [str(store) for store in missing])
    return known + missing


def _refresh_request(decision: "Refresh") -> dg.RunRequest:
    first = partition_key(decision.first_period, decision.first_store)
    last = partition_key(decision.last_period, decision.last_store)
    return dg.RunRequest(
        run_key=decision.run_key,
        tags={
            ASSET_PARTITION_RANGE_START_TAG: first,
            ASSET_PARTITION_RANGE_END_TAG: last,
            REFRESH_TAG: "true",
            # Ahead of queued backfill runs.
            PRIORITY_TAG: "1",
            # The sensor retries with a new run, which also covers later changes.
            MAX_RETRIES_TAG: "0",
        },
    )


@dg.sensor(
    job=train,
    minimum_interval_seconds=INTERVAL_SECONDS,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description=(
        "Requests the first training as soon as there are features to train on, and a new one "
        "after an upgrade that cannot read the stored models."
    ),
)
def train_when_untrained(
    context: dg.SensorEvaluationContext, warehouse: WarehouseResource
) -> dg.RunRequest | dg.SkipReason:
    """Request the first training of a model format; the schedule requests later ones."""
    from forecast_assets.planning.decisions import first_training_decision
    from forecasting.models.model_format import MODEL_FORMAT

    state = _training_state(context.instance, warehouse)
    decision = first_training_decision(state, MODEL_FORMAT)
    return _training_request(decision, state, {FIRST_TRAINING_TAG: "true"})


@dg.sensor(
    job=train,
    minimum_interval_seconds=CHALLENGE_INTERVAL_SECONDS,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description=(
        "Requests a comparison of both recipes when the champion was trained without one. Runs "
        "behind the first training, at low priority; the more accurate recipe becomes champion."
    ),
)
def train_challenger(
    context: dg.SensorEvaluationContext, warehouse: WarehouseResource
) -> dg.RunRequest | dg.SkipReason:
    """Request a training that compares both recipes, once forecasts are in force."""
    from forecast_assets.planning.decisions import challenger_decision
    from forecast_assets.steps.trained import COMPARED_ORIGINS
    from warehouse import models

    with warehouse.transaction() as transaction:
        champion = models.champion(transaction)
    state = _training_state(context.instance, warehouse)
    decision = challenger_decision(
        state,
        settings().challenger_recipe,
        was_compared=champion is not None and COMPARED_ORIGINS in champion.metrics,
    )
    tags = {NICENESS_TAG: str(CHALLENGE_NICENESS), PRIORITY_TAG: "-1"}
    return _training_request(decision, state, tags)


@dg.sensor(
    job=train,
    minimum_interval_seconds=SLIPPED_INTERVAL_SECONDS,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description=(
        "Requests a training when the champion's recent forecasts are clearly less accurate than "
        "when it was calibrated. Evaluated once for each new day of sales."
    ),
)
def train_when_slipped(
    context: dg.SensorEvaluationContext, warehouse: WarehouseResource
) -> dg.SensorResult:
    """Request a training when recent forecasts were less accurate than expected."""
    from forecast_assets.planning.decisions import Skip, training_decision
    from warehouse import accuracy, models

    with warehouse.transaction() as transaction:
        newest = accuracy.newest_day(transaction)
        if newest is None or str(newest) == context.cursor:
            return dg.SensorResult(skip_reason=f"no day has been scored since {context.cursor}")
        if _in_flight(context.instance, TRAININGS):
            return dg.SensorResult(skip_reason="a training is in flight")
        champion = models.champion(transaction)
        trainable = models.newest_feature_day(transaction)
        if champion is None or trainable is None:
            return dg.SensorResult(skip_reason="there is no champion yet")
        since = newest - timedelta(days=settings().retrain_days - 1)
        sums = accuracy.of_version(transaction, champion.version, since)
    state = _champion_state(champion.version, champion.metrics.get("wape"), sums, newest)
    decision = training_decision(state, settings().retrain_factor)
    if isinstance(decision, Skip):
        return dg.SensorResult(skip_reason=decision.reason, cursor=str(newest))
    key = _partition_of(trainable)
    if key is None:
        return dg.SensorResult(
            skip_reason=f"{decision.reason}; the newest features ({trainable}) are outside the "
            "calendar",
            cursor=str(newest),
        )
    context.log.info(decision.reason)
    request = dg.RunRequest(
        run_key=decision.run_key, partition_key=key, tags={SLIPPED_TAG: decision.reason}
    )
    return dg.SensorResult(run_requests=[request], cursor=str(newest))


def _champion_state(
    version: str, calibrated_wape: float | None, sums: dict[str, float], newest: date
) -> "ChampionState":
    from forecast_assets.planning.decisions import ChampionState
    from forecasting.evaluation.accuracy import Accuracy

    return ChampionState(
        version=version,
        calibrated_wape=calibrated_wape,
        days=int(sums["days"]),
        wape=Accuracy.of([sums]).wape,
        newest_day=newest,
    )


@dg.sensor(
    job=freshness,
    minimum_interval_seconds=STALE_INTERVAL_SECONDS,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description=(
        "Re-runs the checks of freshness, arrival, stream, quarantine and size when their results "
        "would change. A refresh that fails never reaches them."
    ),
)
def look_when_stale(
    context: dg.SensorEvaluationContext, warehouse: WarehouseResource
) -> dg.SensorResult:
    """Request the checks when a result would change."""
    from forecast_assets.planning.alerting import CheckState
    from forecast_assets.steps.health import find_problems

    with warehouse.transaction() as transaction:
        problems = find_problems(transaction, settings())
    before = CheckState.from_cursor(context.cursor)
    after = CheckState.of(problems, datetime.now(UTC))
    summary = "; ".join(problem.summary for problem in problems) or "nothing is wrong"
    if not after.needs_run(before):
        return dg.SensorResult(
            skip_reason=f"no change: {summary}", cursor=after.unchanged(before).to_cursor()
        )
    return dg.SensorResult(run_requests=[dg.RunRequest()], cursor=after.to_cursor())


def _training_state(instance: dg.DagsterInstance, warehouse: WarehouseResource) -> "TrainingState":
    from forecast_assets.planning.decisions import TrainingState
    from warehouse import changes, models

    with warehouse.transaction() as transaction:
        champion = models.champion(transaction)
        return TrainingState(
            champion=champion.version if champion else None,
            newest_features=models.newest_feature_day(transaction),
            changes_open=changes.open_changes(transaction) is not None,
            runs=_past_runs(instance, TRAININGS),
            now=datetime.now(UTC),
        )


def _training_request(
    decision: "Training | Skip", state: "TrainingState", tags: dict[str, str]
) -> dg.RunRequest | dg.SkipReason:
    """Turn a decision into a training up to the newest day with features."""
    from forecast_assets.planning.decisions import Skip

    if isinstance(decision, Skip):
        return dg.SkipReason(decision.reason)
    key = _partition_of(state.newest_features) if state.newest_features else None
    if key is None:
        return dg.SkipReason(
            f"the newest features ({state.newest_features}) are outside the calendar"
        )
    return dg.RunRequest(run_key=decision.run_key, partition_key=key, tags=tags)


def _partition_of(day: date) -> str | None:
    """Return the date partition that contains a day; None outside the calendar."""
    key = str(settings().calendar.start_of(day))
    return key if key in dates.get_partition_keys() else None


def _wait_for_changes(warehouse: WarehouseResource, until: float) -> None:
    """Wait until changes are open and have settled, but no longer than until a monotonic time."""
    from warehouse import changes

    with warehouse.listening() as listener:
        while (left := until - time.monotonic()) > 0:
            with warehouse.transaction() as transaction:
                unsettled = changes.seconds_until_settled(transaction, SETTLED_SECONDS)
            if unsettled is not None and unsettled <= 0:
                return
            listener.wait(left if unsettled is None else min(unsettled, left))


def _poll(condition: Callable[[], bool], until: float) -> bool:
    """Poll a condition until a monotonic time; return whether it became true."""
    while not condition():
        if time.monotonic() >= until:
            return False
        time.sleep(POLL_EVERY_SECONDS)
    return True


def _in_flight(instance: dg.DagsterInstance, runs: dg.RunsFilter) -> bool:
    """Return whether any of the runs is queued or running."""
    in_flight = dg.RunsFilter(job_name=runs.job_name, tags=runs.tags, statuses=QUEUED_OR_RUNNING)
    return bool(instance.get_run_ids(in_flight, limit=1))


def _past_runs(instance: dg.DagsterInstance, runs: dg.RunsFilter) -> "PastRuns":
    """Read the runs of one kind; failures in a row are counted up to `COUNTED_FAILURES`."""
    from forecast_assets.planning.decisions import PastRuns

    newest = instance.get_run_records(runs, limit=1)
    finished = dg.RunsFilter(job_name=runs.job_name, tags=runs.tags, statuses=FINISHED_STATUSES)
    failures, ended = 0, None
    for record in instance.get_run_records(finished, limit=COUNTED_FAILURES):
        if record.dagster_run.status == dg.DagsterRunStatus.SUCCESS:
            break
        failures += 1
        if ended is None and record.end_time is not None:
            ended = datetime.fromtimestamp(record.end_time, UTC)
    return PastRuns(
        newest=newest[0].dagster_run.run_id if newest else None,
        in_flight=_in_flight(instance, runs),
        failures=failures,
        last_failure=ended,
    )
