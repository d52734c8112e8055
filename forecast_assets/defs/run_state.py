"""The state that the assets of one run share: the claimed scope and the postponed reports.

Dagster makes the resource anew for each run, so nothing outlives a run that fails.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import TYPE_CHECKING

import dagster as dg
from pydantic import PrivateAttr

from forecast_assets.defs.reporting import Materialized, report
from forecast_assets.defs.scope import (
    REFRESH_TAG,
    agree_on_calendar,
    claim_scope,
    refresh_id_of,
    requested_scope,
    with_differences,
)
from forecast_assets.steps.changed_days import merge_earliest

if TYPE_CHECKING:
    from forecast_assets.defs.resources import OnlyDaysResource, WarehouseResource
    from forecast_assets.planning.partition_cells import StorePeriods
    from forecast_assets.planning.scope import Scope
    from warehouse.connection import Transaction

SEPARATE_PROCESSES = (
    "Refresh {run_id}: another process of this run has claimed the changes, so this step cannot "
    "see what they are. A refresh runs all its steps in one process. Give the job Dagster's "
    "in-process executor (`dg.in_process_executor`, as forecast_assets/definitions.py does); the "
    "changes stay open and the sensor retries them"
)


#: Assets that a refresh computes before `forecasts`, in their order. `forecasts` closes the
#: changes, so it must have seen all of them.
BEFORE_FORECASTS = ("raw_sales", "cleaned_sales", "features", "store_models")

INCOMPLETE = (
    f"This run has the tag {REFRESH_TAG}, so it would close changes, but it does not compute "
    "{missing}. Re-execute all of its steps, not some of them; or materialize the partitions "
    "without the tag. Open changes need neither: the sensor refreshes them by itself"
)


class RunStateResource(dg.ConfigurableResource):
    """What one run holds between its assets, in the memory of its process."""

    _claimed: Scope | None = PrivateAttr(default=None)
    _computed: set[str] = PrivateAttr(default_factory=set)
    _agreed: bool = PrivateAttr(default=False)
    _feature_days: dict[int, date] = PrivateAttr(default_factory=dict)
    _plan_days: dict[int, date] = PrivateAttr(default_factory=dict)
    _postponed: list[tuple[dg.AssetExecutionContext, Materialized]] = PrivateAttr(
        default_factory=list
    )

    def scope(
        self,
        context: dg.AssetExecutionContext,
        warehouse: WarehouseResource,
        only_days: OnlyDaysResource,
    ) -> Scope:
        """Return the cells that the run's assets compute.

        The first asset of a refresh claims its changes; changes that arrive later belong to the
        next refresh. Stores that failed in an earlier asset are left out.

        Raises:
            dg.Failure: Nothing was requested, the settings' calendar contradicts what is stored,
                the steps run in separate processes, or a refresh leaves out its first asset.
        """
        from warehouse import changes

        if not self._agreed:
            with warehouse.transaction() as transaction:
                agree_on_calendar(transaction)
            self._agreed = True
        refresh_id = refresh_id_of(context)
        if refresh_id is None:
            return requested_scope(context, only_days)
        if self._claimed is None:
            with warehouse.transaction() as transaction:
                if changes.has_begun(transaction, refresh_id):
                    raise dg.Failure(
                        SEPARATE_PROCESSES.format(run_id=refresh_id), allow_retries=False
                    )
                first = BEFORE_FORECASTS[0]
                if context.asset_key.to_user_string() != first:
                    raise dg.Failure(INCOMPLETE.format(missing=first), allow_retries=False)
                claimed = claim_scope(transaction, refresh_id)
            # Not inside the transaction: if the commit fails, nothing has been claimed.
            self._claimed = claimed
            return claimed
        with warehouse.transaction() as transaction:
            if self._feature_days or self._plan_days or self._claimed.first_plan_days:
                self._claimed = with_differences(
                    transaction, self._claimed, self._feature_days, self._plan_days
                )
            return self._claimed.without(changes.failed(transaction, refresh_id))

    def note_changed_features(self, transaction: Transaction, days: Mapping[int, date]) -> None:
        """Remember each store's first day, before its changed days, whose features differ.

        Args:
            transaction: The one that writes the features.
            days: Store -> day.
        """
        self._note(transaction, "features", days, self._feature_days)

    def note_changed_plans(self, transaction: Transaction, days: Mapping[int, date]) -> None:
        """Remember each store's first day whose plan differs.

        Args:
            transaction: The one that writes the sales and plans.
            days: Store -> day.
        """
        self._note(transaction, "plan", days, self._plan_days)

    def _note(
        self,
        transaction: Transaction,
        kind: str,
        days: Mapping[int, date],
        known: dict[int, date],
    ) -> None:
        from warehouse import changes

        if self._claimed is not None and self._claimed.refresh_id is not None:
            changes.note_found(transaction, self._claimed.refresh_id, kind, days)
            merge_earliest(known, days)

    def renewed_backtests(self) -> StorePeriods:
        """Return the cells whose backtests this refresh has computed again."""
        return self._claimed.renewed_backtests() if self._claimed is not None else {}

    def note_computed(self, asset: str) -> None:
        """Remember that an asset of the run has done its work."""
        self._computed.add(asset)

    def require_all_computed(self) -> None:
        """Refuse to close changes that the run has not worked on from end to end.

        Someone may re-execute single steps of a refresh; the new run has its tags.

        Raises:
            dg.Failure: The run leaves out assets upstream of `forecasts`.
        """
        missing = [asset for asset in BEFORE_FORECASTS if asset not in self._computed]
        if missing:
            raise dg.Failure(INCOMPLETE.format(missing=", ".join(missing)), allow_retries=False)

    def postpone(self, context: dg.AssetExecutionContext, materialized: Materialized) -> None:
        """Keep a report for a later asset of the run."""
        self._postponed.append((context, materialized))

    def report_postponed(self, log: dg.DagsterLogManager) -> None:
        """Make the reports that earlier assets of the run have postponed, in their order."""
        while self._postponed:
            context, materialized = self._postponed.pop(0)
            asset = context.asset_key.to_user_string()
            log.info(f"recording {len(materialized):,} partitions of {asset}")
            report(context, materialized)


@dg.definitions
def run_state() -> dg.Definitions:
    """Define the resource by the name that assets request it with."""
    return dg.Definitions(resources={"run_state": RunStateResource()})
