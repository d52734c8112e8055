"""Alerts: messages to people when a run fails, and when something begins or ends to be wrong.

A message that the webhook does not take is sent again at the next tick. The wording is in
`planning/alert_messages.py`, the rules are in `planning/health.py`, the spells in
`planning/alerting.py`; the sensors that request runs are in `sensors.py`.
"""

import json
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import IO, TYPE_CHECKING

import dagster as dg
from pydantic import HttpUrl, Secret

from forecast_assets.defs.resources import WarehouseResource
from forecast_assets.settings import settings

if TYPE_CHECKING:
    from email.message import Message

    from dagster._core.storage.event_log.base import EventLogRecord

    from forecast_assets.planning.alert_messages import Rule
    from forecast_assets.planning.health import Problem

#: Seconds to wait for the webhook.
WEBHOOK_SECONDS = 10

#: Seconds between two evaluations of the rules, and between two looks for failed runs.
PROBLEMS_EVERY_SECONDS = 60
FAILURES_EVERY_SECONDS = 30

#: Failed runs that one tick tells.
FAILURES_PER_TICK = 50

#: How many ids of events a tick looks back over. Transactions that take ids in one order may
#: commit in another, and a run's batch of events takes up to 2,000 at once.
OVERLAP_IDS = 10_000

UNSET = "FORECAST_ALERT_WEBHOOK is not set, so no alert is sent"

#: The cursor without a webhook: whoever sets one is told what is wrong then, and nothing old.
NOBODY_TOLD = "{}"


class WebhookError(Exception):
    """The webhook did not take a message."""


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """Refuses redirects: urllib would follow one without the message and call it delivered."""

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: "Message",
        newurl: str,
    ) -> None:
        return None


def post(webhook: Secret[HttpUrl], text: str) -> None:
    """Send a message to a webhook, in the format that chat systems accept.

    Args:
        webhook: The address.
        text: The message.

    Raises:
        WebhookError: The webhook did not answer or returned an error; the message does not name
            the address, which is a secret.
    """
    request = urllib.request.Request(  # noqa: S310 - the settings allow only http and https
        str(webhook.get_secret_value()),
        data=json.dumps({"text": text}).encode(),
        headers={"Content-Type": "application/json"},
    )
    try:
        with urllib.request.build_opener(_NoRedirects).open(request, timeout=WEBHOOK_SECONDS):
            pass
    except urllib.error.HTTPError as error:
        raise WebhookError(_not_taken(f"it answered {error.code}")) from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        raise WebhookError(_not_taken(f"{type(error).__name__}: {reason}")) from None


def _not_taken(reason: str) -> str:
    return f"FORECAST_ALERT_WEBHOOK did not take a message ({reason}); it is sent again"


@dg.sensor(
    minimum_interval_seconds=FAILURES_EVERY_SECONDS,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description=(
        "Sends a message to FORECAST_ALERT_WEBHOOK when a run fails, with the error of the step "
        "that failed."
    ),
)
def tell_of_failures(
    context: dg.SensorEvaluationContext, warehouse: WarehouseResource
) -> dg.SensorResult:
    """Tell each failed run once, oldest first."""
    from forecast_assets.defs.run_errors import describe_failure
    from forecast_assets.planning.alerting import read_json

    webhook = settings().alert_webhook
    if webhook is None:
        return dg.SensorResult(skip_reason=UNSET, cursor=NOBODY_TOLD)
    stored = read_json(context.cursor)
    if not isinstance(stored.get("until"), int):
        # A new stack, or one that got a webhook just now.
        newest = _newest_failure(context.instance)
        return dg.SensorResult(
            skip_reason="telling of runs that fail from now on",
            cursor=json.dumps({"until": newest, "told": [newest]}),
        )
    until, told = stored["until"], set(stored.get("told", []))
    failed = [
        record
        for record in _failures(context.instance, until - OVERLAP_IDS, len(told))
        if record.storage_id not in told
    ]

    def cursor() -> str:
        recent = sorted(event for event in told if event > until - OVERLAP_IDS)
        return json.dumps({"until": until, "told": recent})

    for sent, record in enumerate(failed):
        stores = _failed_stores(warehouse, record.event_log_entry.run_id)
        text = describe_failure(context.instance, record.event_log_entry, stores)
        try:
            post(webhook, text)
        except WebhookError as error:
            if not sent:
                raise
            return dg.SensorResult(skip_reason=str(error), cursor=cursor())
        told.add(record.storage_id)
        until = max(until, record.storage_id)
    return dg.SensorResult(skip_reason=f"{len(failed)} runs have failed", cursor=cursor())


def _newest_failure(instance: dg.DagsterInstance) -> int:
    """Return the id of the newest failure of a run; 0 if none has failed."""
    records = instance.fetch_run_status_changes(dg.DagsterEventType.RUN_FAILURE, limit=1).records
    return records[0].storage_id if records else 0


def _failures(instance: dg.DagsterInstance, after: int, told: int) -> "Sequence[EventLogRecord]":
    """Return the failures of runs after an event's id, oldest first.

    Args:
        instance: Dagster's instance.
        after: The id.
        told: How many of them may have been told.
    """
    return instance.fetch_run_status_changes(
        dg.RunStatusChangeRecordsFilter(
            event_type=dg.DagsterEventType.RUN_FAILURE, after_storage_id=after
        ),
        limit=told + FAILURES_PER_TICK,
        ascending=True,
    ).records


def _failed_stores(warehouse: WarehouseResource, run_id: str) -> Mapping[int, str]:
    """Return the stores that failed in a run; none if the database cannot tell."""
    from warehouse import changes
    from warehouse.connection import SERVERS_FAULT

    try:
        with warehouse.transaction() as transaction:
            return changes.failed(transaction, run_id)
    except SERVERS_FAULT:
        # Often the reason why the run failed; the message must not wait for the database.
        return {}


@dg.sensor(
    minimum_interval_seconds=PROBLEMS_EVERY_SECONDS,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description=(
        "Sends a message to FORECAST_ALERT_WEBHOOK when something begins to be wrong, and another "
        "when it is right again: stale, old or failing forecasts, sales that do not come, a dead "
        "or stuck stream, many quarantined events, sales of an unusual size, a database that does "
        "not answer."
    ),
)
def tell_of_problems(
    context: dg.SensorEvaluationContext, warehouse: WarehouseResource
) -> dg.SensorResult:
    """Tell each spell once when it begins and once when it ends."""
    from forecast_assets.planning.alerting import AlertState, advance

    webhook = settings().alert_webhook
    if webhook is None:
        return dg.SensorResult(skip_reason=UNSET, cursor=NOBODY_TOLD)
    before = AlertState.from_cursor(context.cursor)
    problems, judged = _judge(warehouse)
    state = advance(before, problems, judged, datetime.now(UTC))
    unsent, failure = _send(state.outbox, lambda text: post(webhook, text))
    if failure is not None and unsent == before.outbox:
        # Nothing to remember, so the tick may fail, which the UI shows.
        raise failure
    reasons = [problem.summary for problem in problems] or ["nothing is wrong"]
    return dg.SensorResult(
        skip_reason="; ".join([*([str(failure)] if failure else []), *reasons]),
        cursor=AlertState(state.spells, unsent).to_cursor(),
    )


def _judge(warehouse: WarehouseResource) -> "tuple[list[Problem], set[Rule]]":
    """Return what is wrong, and the rules that could be judged."""
    from forecast_assets.planning.alert_messages import Rule
    from forecast_assets.planning.health import Problem
    from forecast_assets.redaction import redact
    from forecast_assets.steps.health import find_problems
    from warehouse.connection import SERVERS_FAULT

    try:
        with warehouse.transaction() as transaction:
            return find_problems(transaction, settings()), set(Rule)
    except SERVERS_FAULT as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        text = f"nothing can be judged: {redact(reason)}"
        return [Problem(Rule.DATABASE, {"": text})], {Rule.DATABASE}


def _send(
    outbox: Sequence[str], send: Callable[[str], None]
) -> tuple[tuple[str, ...], WebhookError | None]:
    """Send messages in order until one fails; return the unsent ones and the failure."""
    for number, text in enumerate(outbox):
        try:
            send(text)
        except WebhookError as error:
            return tuple(outbox[number:]), error
    return (), None
