"""Adopts a scenario: plan events to the Kafka topic, and the job to follow.

The service stores nothing. A job's id holds what is needed to follow it: stores, days, and when the
events were sent.
"""

import base64
import binascii
import hashlib
import json
from datetime import UTC, date, datetime
from typing import Any

import pandas as pd

from forecast_service.database import in_thread
from forecast_service.forecasts.service import known_stores
from forecast_service.jobs import JobStatus, forecast_at
from forecast_service.problems import ServiceError, unavailable
from forecast_service.scenarios.schemas import PlanRequest
from forecast_service.scenarios.service import plan_of
from forecast_service.state import State
from rossmann import fields
from streaming_job.errors import StreamError
from streaming_job.producer import produce
from warehouse.errors import NotFoundError
from warehouse.service import plans as statements

PREFIX = "plan-"
SEND_SECONDS = 20.0
#: Seconds after which an event that was not stored is worth a word.
STREAM_SECONDS = 60.0
_EVENT_FIELDS = {
    "store": fields.STORE,
    "day_of_week": fields.DAY_OF_WEEK,
    "date": fields.DATE,
    "open": fields.OPEN,
    "promo": fields.PROMO,
    "state_holiday": fields.STATE_HOLIDAY,
    "school_holiday": fields.SCHOOL_HOLIDAY,
}


async def adopt(state: State, asked: PlanRequest, client: str, key: str | None) -> dict[str, Any]:
    """Send the plan's events, once for the same request, and return the job to follow.

    Args:
        state: The service's state.
        asked: The changed plan.
        client: The token's name.
        key: The client's idempotency key. Without one, the plan itself is the key.

    Raises:
        NotFoundError: A store has no forecast yet, or does not exist.
        ServiceError: A day lies outside the horizon, or Kafka is away.
    """
    content = asked.model_dump_json()
    request = hashlib.sha256(f"{client}\0{key}\0{content}".encode()).hexdigest()
    async with state.database.locked("plans"):
        known = state.sent_plans.get(request)
        if known is not None:
            return await follow(state, known)
        await known_stores(state, sorted({change.store for change in asked.changes}))
        plan = await state.database.compute(lambda transaction: plan_of(transaction, state, asked))
        sent_at = datetime.now(UTC)
        if len(plan.rows):
            await _send(state, plan.rows)
        job_id = encode(plan.rows, sent_at)
        state.sent_plans.put(request, job_id)
    return await follow(state, job_id)


async def follow(state: State, job_id: str) -> dict[str, Any]:
    """Return how far an adopted plan is.

    Raises:
        NotFoundError: It is no job of the service.
    """
    job = decode(job_id)
    status, detail = JobStatus.SUCCEEDED, "the plan was so already; nothing was sent"
    if job["days"]:
        row = await state.database.row(
            statements.PROGRESS, (job["stores"], job["first"], job["last"], job["sent_at"])
        )
        assert row is not None  # noqa: S101 - the statement has no FROM
        status, detail = progress(row, job["days"], datetime.now(UTC), job["sent_at"])
    done = status in (JobStatus.SUCCEEDED, JobStatus.FAILED)
    store = job["stores"][0] if len(job["stores"]) == 1 else None
    before = after = None
    if store is not None:
        before = await forecast_at(state, store, job["sent_at"])
        after = await forecast_at(state, store, datetime.now(UTC)) if done else None
    return {
        "job_id": job_id,
        "action": "plan",
        "status": status.value,
        "done": done,
        "detail": detail,
        "store": store,
        "created_at": job["sent_at"],
        "before": before,
        "after": after,
    }


def progress(
    row: dict[str, Any], days: int, now: datetime, sent_at: datetime
) -> tuple[JobStatus, str]:
    """Judge how far a sent plan is.

    Args:
        row: The row of `statements.PROGRESS`.
        days: How many days of stores were sent.
        now: The time.
        sent_at: When they were sent.
    """
    if row["quarantined"]:
        return JobStatus.FAILED, f"the stream quarantined an event: {row['quarantined']}"
    if row["stored"] < days:
        detail = f"the stream has stored {row['stored']} of {days} days"
        if (now - sent_at).total_seconds() > STREAM_SECONDS:
            detail += "; see whether it is running"
        return JobStatus.QUEUED, detail
    if row["open_changes"]:
        failed = f"; the last refresh failed: {row['error']}" if row["error"] else ""
        return JobStatus.REFRESHING, f"the plan is stored; its refresh is under way{failed}"
    return JobStatus.SUCCEEDED, "the forecast under the new plan is in force"


def encode(rows: pd.DataFrame, sent_at: datetime) -> str:
    """Return the id of the job that sent some days of stores."""
    days = [] if rows.empty else [str(rows["date"].min().date()), str(rows["date"].max().date())]
    content = [
        *(sorted(int(store) for store in rows["store"].unique()), days, len(rows)),
        sent_at.isoformat(timespec="milliseconds"),
    ]
    text = base64.urlsafe_b64encode(json.dumps(content, separators=(",", ":")).encode())
    return PREFIX + text.decode().rstrip("=")


def decode(job_id: str) -> dict[str, Any]:
    """Return what a job's id says.

    Raises:
        NotFoundError: It is no job of the service.
    """
    try:
        text = job_id.removeprefix(PREFIX)
        stores, days, count, sent_at = json.loads(
            base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
        )
        first, last = (date.fromisoformat(day) for day in days) if days else (None, None)
        time_sent = datetime.fromisoformat(sent_at)
        numbers = [count, *stores]
        if time_sent.tzinfo is None or not all(
            type(number) is int and 0 <= number < 2**31 for number in numbers
        ):
            raise ValueError
    except (binascii.Error, ValueError, TypeError, RecursionError, AttributeError):
        raise NotFoundError(f"there is no job {job_id[:40]}") from None
    return {"stores": stores, "first": first, "last": last, "days": count, "sent_at": time_sent}


def events_of(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the events of planned days, which have no sales."""
    return rows[list(_EVENT_FIELDS)].rename(columns=_EVENT_FIELDS)


async def _send(state: State, rows: pd.DataFrame) -> None:
    servers, topic = state.settings.kafka_bootstrap_servers, state.settings.sales_topic
    if not servers:
        raise ServiceError(503, "KAFKA_BOOTSTRAP_SERVERS is not set, so no plan can be adopted")
    events = events_of(rows)
    try:
        await in_thread(
            lambda: produce(events, bootstrap_servers=servers, topic=topic), SEND_SECONDS
        )
    except StreamError as error:
        raise unavailable(f"the plan was not sent: {error}", 5) from error
