"""Schedules: what runs by the clock."""

from collections.abc import Iterator

import dagster as dg

from forecast_assets.defs.jobs import train
from forecast_assets.defs.partitions import dates


@dg.schedule(
    job=train,
    cron_schedule="0 3 1 * *",
    description="Trains a new pooled model in the night of each month's first day.",
)
def train_monthly(
    context: dg.ScheduleEvaluationContext,
) -> Iterator[dg.RunRequest | dg.SkipReason]:
    """Asks to train on everything so far."""
    key = dates.get_last_partition_key()
    if key is None:
        yield dg.SkipReason("the calendar has not begun")
    else:
        yield dg.RunRequest(
            run_key=f"{context.scheduled_execution_time:%Y-%m-%d}", partition_key=key
        )
