"""Starts runs once however often they are asked for, and follows them to their true end."""

import hashlib
from datetime import UTC, date, datetime, timedelta
from typing import Any, Literal

from forecast_service.dagster import IN_PROGRESS, WAITING, Run
from forecast_service.jobs import JobStatus, forecast_at
from forecast_service.problems import ServiceError
from forecast_service.state import State
from warehouse.errors import NotFoundError
from warehouse.service import runs as statements

Action = Literal["retrain", "refresh"]

#: Tags of the runs that the service starts.
REQUEST_TAG = "forecast_service/request"
STORE_TAG = "forecast_service/store"
#: Dagster's tags, and the asset graph's own: see `forecast_assets/defs/scope.py`.
REFRESH_TAG = "forecast/refresh"
PARTITION_TAG = "dagster/partition"
RANGE_TAGS = ("dagster/asset_partition_range_start", "dagster/asset_partition_range_end")
MAX_RETRIES_TAG = "dagster/max_retries"
JOBS: dict[Action, str] = {"retrain": "train", "refresh": "refresh"}
#: After this long, the run's process must be gone: Dagster's monitoring ends runs earlier.
LOST_AFTER = timedelta(minutes=90)
_STATUSES = {
    "SUCCESS": JobStatus.SUCCEEDED,
    "FAILURE": JobStatus.FAILED,
    "CANCELED": JobStatus.CANCELLED,
    **dict.fromkeys(WAITING, JobStatus.QUEUED),
}
_DETAILS = {
    JobStatus.QUEUED: "waits for its turn in Dagster",
    JobStatus.RUNNING: "runs in Dagster",
    JobStatus.REFRESHING: "the run succeeded; the store's forecast is being refreshed",
    JobStatus.SUCCEEDED: "done; what is in force now is `after`",
    JobStatus.FAILED: "the run failed, and the forecast in force is the one of before; the run's "
    "page in Dagster says why",
    JobStatus.CANCELLED: "somebody ended the run; the forecast in force is the one of before",
    JobStatus.LOST: "the run's process is gone and Dagster has not noticed; end the run there",
}
_NEVER_STARTED = "the run never started, since Dagster went away before: send the request again"
ENDS = (JobStatus.SUCCEEDED, JobStatus.FAILED, JobStatus.CANCELLED, JobStatus.LOST)


async def start(state: State, action: Action, store: int | None, key: str | None) -> dict[str, Any]:
    """Start a run, or return the one that the same request has started.

    Args:
        state: The service's state.
        action: `retrain` trains the pooled model on all sales up to now; `refresh` takes the open
            changes.
        store: The store whose forecast to show before and after.
        key: The client's idempotency key: the same key is the same run for ever, unless that run
            has never started. Without one, a run in progress is joined.

    Raises:
        NotFoundError: There is no such store, or it has no sales.
        ServiceError: Dagster is away.
    """
    period, store = await _position(state, store)
    job, tags = JOBS[action], {STORE_TAG: str(store), MAX_RETRIES_TAG: "0"}
    digest = hashlib.sha256(f"{action}/{store}/{key}".encode()).hexdigest()[:32]
    if action == "refresh":
        tags |= dict.fromkeys(RANGE_TAGS, f"{period}|{store}") | {REFRESH_TAG: "true"}
    else:
        tags[PARTITION_TAG] = str(period)
    async with state.database.locked(f"runs/{action}"):
        known = await _same(state, action, store, digest if key else None)
        if known is None:
            if key:
                tags[REQUEST_TAG] = digest
            known = await state.dagster.launch(job, tags)
    return await _described(state, known, store)


async def follow(state: State, run_id: str) -> dict[str, Any]:
    """Return how far a run is, and its store's forecast before and after.

    Raises:
        NotFoundError: Dagster knows no such run, or it is no retraining or refresh.
        ServiceError: Dagster is away.
    """
    run = await state.dagster.run(run_id)
    if run is None or run.job not in JOBS.values():
        raise NotFoundError(f"there is no job {run_id}: Dagster knows no such run, or deleted it")
    store = run.tags.get(STORE_TAG, "")
    return await _described(state, run, int(store) if store.isdecimal() else None)


async def _position(state: State, store: int | None) -> tuple[date, int]:
    """Return the newest partition of a store, by default of the first one, and the store."""
    if store is None:
        row = await state.database.row(statements.ANY_STORE)
        store = row["store"] if row else None
        if store is None:
            raise NotFoundError("the sales database has no stores yet")
    position = await state.database.row(statements.POSITION, (store,))
    if position is None or not position["known"]:
        raise NotFoundError(f"no such store: {store}; GET /v1/stores lists them")
    if position["newest_day"] is None:
        raise ServiceError(409, f"store {store} has no sales yet, so there is nothing to compute")
    return period_of(position["newest_day"], position["grain"] or state.settings.date_grain), store


def period_of(day: date, grain: str) -> date:
    """Return the first day of the partition that contains a day."""
    if grain == "monthly":
        return day.replace(day=1)
    return day - timedelta(days=day.weekday()) if grain == "weekly" else day


async def _same(state: State, action: Action, store: int, digest: str | None) -> Run | None:
    """Return the run that the same request has started before."""
    if digest is not None:
        runs = await state.dagster.find(tags={REQUEST_TAG: digest})
        runs = [run for run in runs if not never_started(run)]
        return runs[-1] if runs else None
    if action == "retrain":
        # A training is for all stores, so any that has not ended serves.
        runs = await state.dagster.find(job=JOBS[action], statuses=IN_PROGRESS)
    else:
        # One that has begun may have claimed its changes already: only one that waits will do, or
        # one that this very request has started.
        runs = await state.dagster.find(job=JOBS[action], statuses=IN_PROGRESS)
        runs = [
            run
            for run in runs
            if run.tags.get(STORE_TAG) == str(store)
            or (run.status in WAITING and REFRESH_TAG in run.tags)
        ]
    return runs[0] if runs else None


async def _described(state: State, run: Run, store: int | None) -> dict[str, Any]:
    status = status_of(run, datetime.now(UTC))
    detail = _NEVER_STARTED if never_started(run) else _DETAILS[status]
    before = after = None
    if store is not None:
        before = await forecast_at(state, store, run.created)
        if status is JobStatus.SUCCEEDED:
            waiting = await state.database.row(statements.WAITING, (store,))
            if waiting and waiting["changes"]:
                status = JobStatus.REFRESHING
                detail = _DETAILS[status]
                if waiting["error"]:
                    detail += "; its last refresh failed and is tried again"
        if status in ENDS:
            after = await forecast_at(state, store, datetime.now(UTC))
    return {
        "job_id": run.run_id,
        "action": next(action for action, job in JOBS.items() if job == run.job),
        "status": status.value,
        "done": status in ENDS,
        "detail": detail,
        "store": store,
        "created_at": run.created,
        "ended_at": run.ended,
        "link": f"{state.dagster.url}/runs/{run.run_id}",
        "before": before,
        "after": after,
    }


def never_started(run: Run) -> bool:
    """Tell whether a run failed without having begun.

    Dagster's webserver died after it had made the run and before it put it into the queue; after a
    while, Dagster fails such a run.
    """
    # Dagster says of such a run that it started when it ended.
    return run.status == "FAILURE" and run.started in (None, run.ended)


def status_of(run: Run, now: datetime) -> JobStatus:
    """Return a run's status; one that has not ended for too long is lost."""
    known = _STATUSES.get(run.status)
    if known is not None:
        return known
    since = run.started or run.created
    return JobStatus.LOST if now - since > LOST_AFTER else JobStatus.RUNNING
