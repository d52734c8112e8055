"""Checks that compare partitions.

An asset checks its own rows against their schema; see `schema_checks.py`. The accuracy check is
part of `forecast_accuracy`.
"""

import dagster as dg

from forecast_assets.defs.partitions import partition_key
from forecast_assets.defs.resources import WarehouseResource
from forecast_assets.settings import settings

#: How many names a check's description lists before truncating.
LISTED_NAMES = 20

# Their asset's own step evaluates these three. For a separate step, Dagster 1.13.27 lists every
# partition of the asset it checks: most of a second for a chain of a thousand stores.

LEDGER_BALANCES = dg.AssetCheckSpec(
    "ledger_balances",
    asset="raw_sales",
    blocking=True,
    description=(
        "Every Kafka offset that was taken is a stored row, a quarantined event or a known gap."
    ),
)

NO_FUTURE_DATA = dg.AssetCheckSpec(
    "no_future_data",
    asset="forecasts",
    blocking=True,
    description="No model behind a forecast has seen a day after the forecast's origin.",
)

DAY_COMPLETE = dg.AssetCheckSpec(
    "day_complete",
    asset="forecasts",
    description="The forecasts of all stores start from the same newest day.",
)


def ledger_balances(warehouse: WarehouseResource) -> dg.AssetCheckResult:
    """Compare the rows of each topic-partition with the ledger of offsets."""
    from warehouse import checks

    with warehouse.transaction() as transaction:
        unbalanced = checks.unbalanced(transaction)
        totals = checks.ledger_totals(transaction)
    return dg.AssetCheckResult(
        check_name=LEDGER_BALANCES.name,
        passed=not unbalanced,
        description="; ".join(unbalanced)
        or "{stored:,} stored + {quarantined:,} quarantined = {taken:,} events taken".format(
            **totals
        ),
        metadata=totals,
    )


def no_future_data(warehouse: WarehouseResource) -> dg.AssetCheckResult:
    """Find models that saw days after their period or their origin."""
    from warehouse import checks

    with warehouse.transaction() as transaction:
        periods = checks.model_periods(transaction)
    violations = [
        f"{row['stores']} store models of {row['period_start']} saw {row['trained_until']}"
        + (f", their pooled model {row['pooled_until']}" if row["pooled_until"] else "")
        for row in periods
        if row["trained_until"] > settings().calendar.end_of(row["period_start"])
        or row["later_pooled"]
    ]
    return dg.AssetCheckResult(
        check_name=NO_FUTURE_DATA.name,
        passed=not violations,
        description="; ".join(violations) or f"{len(periods)} periods, none saw its future",
        metadata={"periods": len(periods)},
    )


@dg.asset_check(
    asset="forecasts",
    description=(
        "No store's refresh has failed, and no change has waited longer than "
        "FORECAST_MAX_OPEN_MINUTES."
    ),
)
def fresh(warehouse: WarehouseResource) -> dg.AssetCheckResult:
    """List the partitions whose changes no refresh has processed in time."""
    from forecast_assets.planning.partition_cells import cells_since
    from warehouse import changes, sales

    minutes = settings().max_open_minutes
    with warehouse.transaction() as transaction:
        late = changes.overdue(transaction, minutes)
        newest = sales.newest_days(transaction, "raw_sales", [row["store"] for row in late])
    errors = {row["store"]: row["error"] for row in late if row["error"]}
    stale = cells_since(
        {row["store"]: row["first_day"] for row in late}, newest, settings().calendar
    )
    keys = [partition_key(period, store) for period, stores in stale.items() for store in stores]
    reasons = [f"{len(keys)} partitions of {len(late)} stores are stale: {_list_some(keys)}"]
    if errors:
        reasons.append(_list_some([f"store {s} failed: {error}" for s, error in errors.items()]))
    return dg.AssetCheckResult(
        passed=not late,
        severity=dg.AssetCheckSeverity.WARN,
        description=(
            "; ".join(reasons)
            if late
            else f"no store has failed, and no change has waited for {minutes:g} minutes"
        ),
        metadata={"stores_late": len(late), "partitions_stale": dg.MetadataValue.json(keys)},
    )


def day_complete(warehouse: WarehouseResource) -> dg.AssetCheckResult:
    """List the stores that have no sales of the newest day yet."""
    from warehouse import checks

    with warehouse.transaction() as transaction:
        newest, behind = checks.stores_behind(transaction)
    listed = _list_some([f"{row['store']} ({row['origin']})" for row in behind])
    return dg.AssetCheckResult(
        check_name=DAY_COMPLETE.name,
        passed=not behind,
        severity=dg.AssetCheckSeverity.WARN,
        description=(
            f"{len(behind)} stores are behind {newest}: {listed}"
            if behind
            else f"the forecasts of all stores start from {newest}"
        ),
        metadata={"newest_origin": str(newest), "stores_behind": len(behind)},
    )


def _list_some(names: list[str]) -> str:
    """Join names for a description; truncate a long list."""
    return ", ".join(names[:LISTED_NAMES]) + (" …" if len(names) > LISTED_NAMES else "")
