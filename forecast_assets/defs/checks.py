"""Checks that look across partitions; what a single frame must satisfy is checked by its asset."""

import dagster as dg

from forecast_assets.defs.partitions import partition_key
from forecast_assets.defs.resources import WarehouseResource
from forecast_assets.settings import settings

SHOWN = 20
"""So many names are readable in a check's words."""


# The first three are made by their asset's own step: for a step of its own, Dagster 1.13.27 lists
# every partition of the asset that it looks at, most of a second for a chain of a thousand stores.

LEDGER_BALANCES = dg.AssetCheckSpec(
    "ledger_balances",
    asset="raw_sales",
    blocking=True,
    description="Every offset taken ended as a stored row, a quarantined event or a known gap.",
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
    description="All stores are forecast from the same newest day.",
)


def ledger_balances(warehouse: WarehouseResource) -> dg.AssetCheckResult:
    """Counts the rows of each topic-partition against the ledger of offsets."""
    from warehouse import checks

    with warehouse.transaction() as transaction:
        wrong = checks.unbalanced(transaction)
        totals = checks.ledger_totals(transaction)
    return dg.AssetCheckResult(
        check_name=LEDGER_BALANCES.name,
        passed=not wrong,
        description="; ".join(wrong)
        or "{stored:,} stored + {quarantined:,} quarantined = {taken:,} events taken".format(
            **totals
        ),
        metadata=totals,
    )


def no_future_data(warehouse: WarehouseResource) -> dg.AssetCheckResult:
    """Looks for models that saw more than their period or their origin allows."""
    from warehouse import checks

    with warehouse.transaction() as transaction:
        periods = checks.model_periods(transaction)
    wrong = [
        f"{row['stores']} store models of {row['period_start']} saw {row['trained_until']}"
        + (f", their pooled model {row['pooled_until']}" if row["pooled_until"] else "")
        for row in periods
        if row["trained_until"] > settings().calendar.end_of(row["period_start"])
        or row["later_pooled"]
    ]
    return dg.AssetCheckResult(
        check_name=NO_FUTURE_DATA.name,
        passed=not wrong,
        description="; ".join(wrong) or f"{len(periods)} periods, none saw its future",
        metadata={"periods": len(periods)},
    )


@dg.asset_check(
    asset="forecasts",
    description="Nothing that changed has failed or waited for longer than the settings allow.",
)
def fresh(warehouse: WarehouseResource) -> dg.AssetCheckResult:
    """Names the partitions whose changes no refresh has worked off in time."""
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
    words = [f"{len(keys)} partitions of {len(late)} stores are stale: {_some(keys)}"]
    if errors:
        words.append(_some([f"store {store} has failed: {why}" for store, why in errors.items()]))
    return dg.AssetCheckResult(
        passed=not late,
        severity=dg.AssetCheckSeverity.WARN,
        description=(
            "; ".join(words) if late else f"nothing has failed or waited for {minutes:g} minutes"
        ),
        metadata={"stores_late": len(late), "partitions_stale": dg.MetadataValue.json(keys)},
    )


def _some(words: list[str]) -> str:
    """The first of many."""
    return ", ".join(words[:SHOWN]) + (" …" if len(words) > SHOWN else "")


def day_complete(warehouse: WarehouseResource) -> dg.AssetCheckResult:
    """Names the stores that still wait for the newest day's sales."""
    from warehouse import checks

    with warehouse.transaction() as transaction:
        newest, behind = checks.stores_behind(transaction)
    shown = ", ".join(f"{row['store']} ({row['origin']})" for row in behind[:20])
    return dg.AssetCheckResult(
        check_name=DAY_COMPLETE.name,
        passed=not behind,
        severity=dg.AssetCheckSeverity.WARN,
        description=(
            f"{len(behind)} stores are behind {newest}: {shown}"
            if behind
            else f"all stores are forecast from {newest}"
        ),
        metadata={"newest_origin": str(newest), "stores_behind": len(behind)},
    )
