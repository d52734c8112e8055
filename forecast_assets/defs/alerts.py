"""Alerts: what tells people that a run has failed or that forecasts have become stale."""

import json
import urllib.request
from datetime import UTC, datetime

import dagster as dg
from pydantic import HttpUrl, Secret

from forecast_assets.defs.resources import WarehouseResource
from forecast_assets.settings import settings

WEBHOOK_SECONDS = 10
STALE_EVERY_SECONDS = 60
SHOWN_STORES = 10
UNSET = "no FORECAST_ALERT_WEBHOOK is set: whom to tell is not known"


def post(webhook: Secret[HttpUrl], text: str) -> None:
    """Sends a message to a webhook, in the form that chat systems take.

    Args:
        webhook: Where to.
        text: The message.

    Raises:
        OSError: It does not answer, or with an error; the sensor's tick then fails visibly.
    """
    request = urllib.request.Request(  # noqa: S310 - the settings allow http and https alone
        str(webhook.get_secret_value()),
        data=json.dumps({"text": text}).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=WEBHOOK_SECONDS):  # noqa: S310
        pass


@dg.run_failure_sensor(
    minimum_interval_seconds=30,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Tells the webhook of the settings when a run has failed, and why.",
)
def tell_of_failures(context: dg.RunFailureSensorContext) -> dg.SkipReason | None:
    """Sends the failed run's job, id and error."""
    webhook = settings().alert_webhook
    if webhook is None:
        return dg.SkipReason(UNSET)
    run = context.dagster_run
    reason = (context.failure_event.message or "no message").strip().splitlines()[0]
    post(webhook, f"{run.job_name} {run.run_id} has failed: {reason}")
    return None


@dg.sensor(
    minimum_interval_seconds=STALE_EVERY_SECONDS,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description=(
        "Tells the webhook of the settings when changes have waited for a refresh longer than "
        "the settings allow, and when the last of them has been worked off."
    ),
)
def tell_of_stale_forecasts(
    context: dg.SensorEvaluationContext, warehouse: WarehouseResource
) -> dg.SensorResult:
    """Sends one message when forecasts become stale and one when they are fresh again."""
    from warehouse import changes

    chosen = settings()
    if chosen.alert_webhook is None:
        return dg.SensorResult(skip_reason=UNSET)
    with warehouse.transaction() as transaction:
        late = changes.overdue(transaction, chosen.max_open_minutes)
    told = context.cursor or ""
    if late and not told:
        shown = [f"{row['store']} since {row['first_day']}" for row in late[:SHOWN_STORES]]
        more = ["…"] if len(late) > SHOWN_STORES else []
        post(
            chosen.alert_webhook,
            f"forecasts of {len(late)} stores are stale: their changes have failed, or have waited "
            f"for more than {chosen.max_open_minutes:g} minutes ({', '.join([*shown, *more])})",
        )
        told = datetime.now(UTC).isoformat(timespec="seconds")
    elif told and not late:
        post(chosen.alert_webhook, f"forecasts are fresh again; they were stale since {told}")
        told = ""
    return dg.SensorResult(
        skip_reason=f"{len(late)} stores are late" if late else "nothing is late", cursor=told
    )
