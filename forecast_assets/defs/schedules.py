"""Schedules: runs that start at a fixed time. The nightly cleanup's is in `retention.py`."""

from collections.abc import Iterator

import dagster as dg

from forecast_assets.defs.jobs import train
from forecast_assets.defs.partitions import dates


@dg.schedule(
    job=train,
    cron_schedule="0 3 1 * *",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Trains a new pooled model at 03:00 on the first day of each month.",
)
def train_monthly(
    context: dg.ScheduleEvaluationContext,
) -> Iterator[dg.RunRequest | dg.SkipReason]:
    """Request a training on all sales up to now."""
    key = dates.get_last_partition_key()
    if key is None:
        yield dg.SkipReason("the calendar has not started yet")
    else:
        yield dg.RunRequest(
            run_key=f"{context.scheduled_execution_time:%Y-%m-%d}", partition_key=key
        )
