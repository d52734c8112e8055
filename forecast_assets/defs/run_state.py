"""The state that the assets of one run share: the claimed scope and the postponed reports.

Dagster makes the resource anew for each run, so nothing outlives a run that fails.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import dagster as dg
from pydantic import PrivateAttr

from forecast_assets.defs.reporting import Materialized, report
from forecast_assets.defs.scope import claim_scope, refresh_id_of, requested_scope

if TYPE_CHECKING:
    from forecast_assets.defs.resources import OnlyDaysResource, WarehouseResource
    from forecast_assets.planning.scope import Scope

SEPARATE_PROCESSES = (
    "Refresh {run_id}: another process of this run has claimed the changes, so this step cannot "
    "see what they are. A refresh runs all its steps in one process. Give the job Dagster's "
    "in-process executor (`dg.in_process_executor`, as forecast_assets/definitions.py does); the "
    "changes stay open and the sensor retries them"
)


class RunStateResource(dg.ConfigurableResource):
    """What one run holds between its assets, in the memory of its process."""

    _claimed: Scope | None = PrivateAttr(default=None)
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
            dg.Failure: Nothing was requested, or the steps run in separate processes.
        """
        from warehouse import changes

        refresh_id = refresh_id_of(context)
        if refresh_id is None:
            return requested_scope(context, only_days)
        if self._claimed is None:
            with warehouse.transaction() as transaction:
                if changes.has_begun(transaction, refresh_id):
                    raise dg.Failure(
                        SEPARATE_PROCESSES.format(run_id=refresh_id), allow_retries=False
                    )
                claimed = claim_scope(transaction, refresh_id)
            # Not inside the transaction: if the commit fails, nothing has been claimed.
            self._claimed = claimed
            return claimed
        with warehouse.transaction() as transaction:
            return self._claimed.without(changes.failed(transaction, refresh_id))

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
