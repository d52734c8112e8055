"""Alerts: messages to people when a run fails or forecasts become stale.

The sensors that request runs are in `sensors.py`.
"""

import json
import urllib.request
from datetime import UTC, datetime

import dagster as dg
from pydantic import HttpUrl, Secret

from forecast_assets.defs.resources import WarehouseResource
from forecast_assets.settings import settings

#: Seconds to wait for the webhook.
WEBHOOK_SECONDS = 10

#: Seconds between two evaluations.
STALE_EVERY_SECONDS = 60

#: How many stores a message lists before truncating.
LISTED_STORES = 10

UNSET = "FORECAST_ALERT_WEBHOOK is not set, so no alert is sent"


def post(webhook: Secret[HttpUrl], text: str) -> None:
    """Send a message to a webhook, in the format that chat systems accept.

    Args:
        webhook: The address.
        text: The message.

    Raises:
        OSError: The webhook did not answer or returned an error. The sensor's tick then fails,
            which the UI shows.
    """
    request = urllib.request.Request(  # noqa: S310 - the settings allow only http and https
        str(webhook.get_secret_value()),
        data=json.dumps({"text": text}).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=WEBHOOK_SECONDS):  # noqa: S310
        pass


@dg.run_failure_sensor(
    minimum_interval_seconds=30,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Sends a message to FORECAST_ALERT_WEBHOOK when a run fails, with the reason.",
)
def tell_of_failures(context: dg.RunFailureSensorContext) -> dg.SkipReason | None:
    """Send the job, id and error of a failed run."""
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
        "Sends a message to FORECAST_ALERT_WEBHOOK when a store's refresh has failed or changes "
        "have waited longer than FORECAST_MAX_OPEN_MINUTES, and another when all forecasts are "
        "fresh again."
    ),
)
def tell_of_stale_forecasts(
    context: dg.SensorEvaluationContext, warehouse: WarehouseResource
) -> dg.SensorResult:
    """Send one message when forecasts become stale and one when they are fresh again."""
    from warehouse import changes

    config = settings()
    if config.alert_webhook is None:
        return dg.SensorResult(skip_reason=UNSET)
    with warehouse.transaction() as transaction:
        late = changes.overdue(transaction, config.max_open_minutes)
    stale_since = context.cursor or ""
    if late and not stale_since:
        listed = [f"{row['store']} since {row['first_day']}" for row in late[:LISTED_STORES]]
        more = ["…"] if len(late) > LISTED_STORES else []
        post(
            config.alert_webhook,
            f"forecasts of {len(late)} stores are stale: their refresh failed, or their changes "
            f"have waited for more than {config.max_open_minutes:g} minutes "
            f"({', '.join([*listed, *more])})",
        )
        stale_since = datetime.now(UTC).isoformat(timespec="seconds")
    elif stale_since and not late:
        post(
            config.alert_webhook, f"forecasts are fresh again; they were stale since {stale_since}"
        )
        stale_since = ""
    return dg.SensorResult(
        skip_reason=f"{len(late)} stores are stale" if late else "no store is stale",
        cursor=stale_since,
    )
