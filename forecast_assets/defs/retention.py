"""Retention: old runs are removed, unless they hold a partition's newest materialization.

A day's refresh of 1,115 stores writes about 6 x 1,115 materializations of 2.5 kB, or 17 MB. With
90 days kept, and one refresh a month that still holds its month's newest, the event log of a chain
that is refreshed daily stays below 2 GB.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import dagster as dg
from dagster._core.storage.dagster_run import FINISHED_STATUSES

from forecast_assets.settings import settings

RUNS_AT_ONCE = 200


def removable_runs(instance: dg.DagsterInstance, before: datetime) -> Iterator[str]:
    """Finished runs from before a time that hold no partition's newest materialization.

    Args:
        instance: Dagster's instance.
        before: Runs that were created later are kept.
    """
    newest: set[int] = set()
    for key in instance.all_asset_keys():
        newest |= set(
            instance.event_log_storage.get_latest_storage_id_by_partition(
                key, dg.DagsterEventType.ASSET_MATERIALIZATION
            ).values()
        )
    finished = dg.RunsFilter(statuses=FINISHED_STATUSES, created_before=before)
    cursor = None
    while True:
        records = instance.get_run_records(
            finished, limit=RUNS_AT_ONCE, cursor=cursor, ascending=True
        )
        for record in records:
            run_id = record.dagster_run.run_id
            if not newest & _materializations(instance, run_id):
                yield run_id
        if len(records) < RUNS_AT_ONCE:
            return
        cursor = records[-1].dagster_run.run_id


def _materializations(instance: dg.DagsterInstance, run_id: str) -> set[int]:
    found: set[int] = set()
    cursor = None
    while True:
        page = instance.get_records_for_run(
            run_id, cursor=cursor, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION
        )
        found |= {record.storage_id for record in page.records}
        if not page.has_more:
            return found
        cursor = page.cursor


@dg.op(description="Removes runs that are older than the settings keep them.")
def remove_old_runs(context: dg.OpExecutionContext) -> None:
    """Removes runs with their events; says how many."""
    before = datetime.now(UTC) - timedelta(days=settings().keep_runs_days)
    # Listed first: removing while paging would shift the pages.
    runs = list(removable_runs(context.instance, before))
    for run_id in runs:
        context.instance.delete_run(run_id)
    context.log.info(f"Removed {len(runs)} runs from before {before:%Y-%m-%d}")


@dg.job(
    executor_def=dg.in_process_executor,
    description=(
        "Removes Dagster's records of old runs; a partition's newest materialization always stays."
    ),
)
def clean_up() -> None:
    """Removes old runs."""
    remove_old_runs()


clean_up_nightly = dg.ScheduleDefinition(
    name="clean_up_nightly",
    job=clean_up,
    cron_schedule="30 2 * * *",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Removes Dagster's records of old runs every night.",
)
