"""Retention: the nightly job that deletes old run records and, if configured, old rows.

A run stays as long as it holds the newest materialization of any partition. Contains the Dagster
part; the rows are deleted by `warehouse/retention.py`.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import dagster as dg
from dagster._core.storage.dagster_run import FINISHED_STATUSES

from forecast_assets.defs.jobs import REFRESHED
from forecast_assets.defs.resources import WarehouseResource
from forecast_assets.settings import settings

#: Runs per page.
PAGE_RUNS = 200

#: Bytes in the event log per materialization, with its indexes and its share of a run's other
#: events. tests/faults/test_refresh_kills.py measures it.
MATERIALIZATION_BYTES = 2_500

DAYS_PER_MONTH = 30


def event_log_bytes(stores: int, days: int, keep_days: int) -> int:
    """Estimate the size of the event log for a chain that is refreshed daily.

    Older than `keep_days`, only the last refresh of each month stays: it holds the newest
    materializations of its month. With 1,115 stores, one year and 90 days that is 100 of 365
    refreshes, each 6 x 1,115 x 2.5 kB = 17 MB, together 1.7 GB.

    Args:
        stores: Number of stores; each is refreshed every day.
        days: Days since the first refresh.
        keep_days: Days that runs are kept.

    Returns:
        Bytes.
    """
    kept = min(days, keep_days)
    pinned = -(-(days - kept) // DAYS_PER_MONTH)
    return (kept + pinned) * len(REFRESHED) * stores * MATERIALIZATION_BYTES


def removable_runs(instance: dg.DagsterInstance, before: datetime) -> Iterator[str]:
    """Yield the ids of old finished runs that hold no partition's newest materialization.

    Args:
        instance: Dagster's instance.
        before: Runs created at or after this time are kept.
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
        records = instance.get_run_records(finished, limit=PAGE_RUNS, cursor=cursor, ascending=True)
        for record in records:
            run_id = record.dagster_run.run_id
            if not newest & _materializations(instance, run_id):
                yield run_id
        if len(records) < PAGE_RUNS:
            return
        cursor = records[-1].dagster_run.run_id


def _materializations(instance: dg.DagsterInstance, run_id: str) -> set[int]:
    storage_ids: set[int] = set()
    cursor = None
    while True:
        page = instance.get_records_for_run(
            run_id, cursor=cursor, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION
        )
        storage_ids |= {record.storage_id for record in page.records}
        if not page.has_more:
            return storage_ids
        cursor = page.cursor


@dg.op(description="Deletes the records of runs that are older than FORECAST_KEEP_RUNS_DAYS.")
def remove_old_runs(context: dg.OpExecutionContext) -> None:
    """Delete old runs with their events and what they printed, and log how many."""
    before = datetime.now(UTC) - timedelta(days=settings().keep_runs_days)
    # List first: deleting while paging would shift the pages.
    runs = list(removable_runs(context.instance, before))
    for run_id in runs:
        context.instance.delete_run(run_id)
        # Dagster itself leaves these files where they are, for ever.
        context.instance.compute_log_manager.delete_logs(prefix=[run_id])
    context.log.info(f"Deleted {len(runs)} runs created before {before:%Y-%m-%d}")


@dg.op(
    description=(
        "Deletes superseded events and forecasts of old origins, if the settings limit how long "
        "they are kept."
    )
)
def remove_old_rows(context: dg.OpExecutionContext, warehouse: WarehouseResource) -> None:
    """Delete superseded events and issued forecasts of old origins and log how many."""
    from warehouse import retention

    config = settings()
    for days, remove, what in (
        (config.keep_superseded_days, retention.remove_superseded_events, "superseded events"),
        (config.keep_origins_days, retention.remove_old_origins, "forecasts of old origins"),
    ):
        if days is None:
            context.log.info(f"All {what} are kept: the settings set no limit")
            continue
        with warehouse.transaction() as transaction:
            removed = remove(transaction, days)
        context.log.info(f"Deleted {removed} {what} older than {days} days")


@dg.job(
    description=(
        "Deletes Dagster's records of old runs and, if the settings limit how long they are kept, "
        "superseded events and forecasts of old origins. The newest materialization of each "
        "partition always stays."
    ),
)
def clean_up() -> None:
    """Delete old runs and old rows."""
    remove_old_runs()
    remove_old_rows()


clean_up_nightly = dg.ScheduleDefinition(
    name="clean_up_nightly",
    job=clean_up,
    cron_schedule="30 2 * * *",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Deletes Dagster's records of old runs, and old rows, at 02:30 every night.",
)
