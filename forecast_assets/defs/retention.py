"""Retention: old runs are removed, unless they hold a partition's newest materialization.

With them go, where the settings say so, superseded events and issued forecasts of old origins.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import dagster as dg
from dagster._core.storage.dagster_run import FINISHED_STATUSES

from forecast_assets.defs.jobs import REFRESHED
from forecast_assets.defs.resources import WarehouseResource
from forecast_assets.settings import settings

RUNS_AT_ONCE = 200

MATERIALIZATION_BYTES = 2_500
"""Of the event log for one materialization, with its indexes and its share of a run's other events.

tests/faults/test_refresh_kills.py measures it.
"""

DAYS_A_MONTH = 30


def event_log_bytes(stores: int, days: int, keep_days: int) -> int:
    """How large the event log of a chain becomes that is refreshed daily, month by month.

    Of the days that are no longer kept, the last refresh of each month stays: it holds its month's
    newest materializations. For 1,115 stores, a year and 90 days: 100 of 365 refreshes of
    6 x 1,115 x 2.5 kB = 17 MB, or 1.7 GB.

    Args:
        stores: Stores, each of which is refreshed every day.
        days: Days since the first refresh.
        keep_days: Days that runs are kept for.
    """
    kept = min(days, keep_days)
    pinned = -(-(days - kept) // DAYS_A_MONTH)
    return (kept + pinned) * len(REFRESHED) * stores * MATERIALIZATION_BYTES


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


@dg.op(description="Removes events and forecasts that the settings do not keep for ever.")
def remove_old_rows(context: dg.OpExecutionContext, warehouse: WarehouseResource) -> None:
    """Removes superseded events and issued forecasts of old origins; says how many."""
    from warehouse import retention

    chosen = settings()
    for days, remove, what in (
        (chosen.keep_superseded_days, retention.remove_superseded_events, "superseded events"),
        (chosen.keep_origins_days, retention.remove_old_origins, "forecasts of old origins"),
    ):
        if days is None:
            context.log.info(f"All {what} are kept")
            continue
        with warehouse.transaction() as transaction:
            removed = remove(transaction, days)
        context.log.info(f"Removed {removed} {what}, older than {days} days")


@dg.job(
    description=(
        "Removes Dagster's records of old runs (a partition's newest materialization always "
        "stays), and, where the settings say so, superseded events and forecasts of old origins."
    ),
)
def clean_up() -> None:
    """Removes old runs and old rows."""
    remove_old_runs()
    remove_old_rows()


clean_up_nightly = dg.ScheduleDefinition(
    name="clean_up_nightly",
    job=clean_up,
    cron_schedule="30 2 * * *",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Removes Dagster's records of old runs, and old rows, every night.",
)
