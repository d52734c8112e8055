"""Checks that compare partitions.

An asset checks its own rows against their schema; see `schema_checks.py`. The accuracy check is
part of `forecast_accuracy`.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from typing import TYPE_CHECKING, Any

import dagster as dg

from forecast_assets.defs.partitions import partition_key
from forecast_assets.defs.resources import WarehouseResource
from forecast_assets.settings import settings

if TYPE_CHECKING:
    from forecast_assets.planning.health_facts import LateStore

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


#: Checks whose results change without a run, by the name of the check: sensors watch their rules.
WATCHED: dict[str, tuple[dg.AssetCheckSpec, tuple[str, ...]]] = {
    spec.name: (spec, rules)
    for spec, rules in (
        (
            dg.AssetCheckSpec(
                "fresh",
                asset="forecasts",
                description=(
                    "No store's refresh has failed, no change has waited longer than "
                    "FORECAST_MAX_OPEN_MINUTES, a model can be read, and the newest forecasts "
                    "start from the newest sales, at most FORECAST_MAX_AGE_DAYS before today."
                ),
            ),
            ("late", "failed", "old", "behind"),
        ),
        (
            dg.AssetCheckSpec(
                "sales_arrive",
                asset="raw_sales",
                description=(
                    "The sales of every day have come no later than is usual on its weekday, "
                    "and no store has been silent for longer than FORECAST_MAX_AGE_DAYS."
                ),
            ),
            ("events", "silent"),
        ),
        (
            dg.AssetCheckSpec(
                "stream_runs",
                asset="raw_sales",
                description=(
                    "The stream is alive, stores what waits, and does not restart again and again."
                ),
            ),
            ("stream",),
        ),
        (
            dg.AssetCheckSpec(
                "few_quarantined",
                asset="raw_sales",
                description=(
                    "At most FORECAST_MAX_QUARANTINED_SHARE of the last day's events were "
                    "quarantined."
                ),
            ),
            ("quarantine",),
        ),
        (
            dg.AssetCheckSpec(
                "corrections_count",
                asset="raw_sales",
                description=(
                    "No correction of the last seven days was sent with a time before that of what "
                    "it corrects. Such a correction does not count; a slow clock may be why."
                ),
            ),
            ("outdated",),
        ),
        (
            dg.AssetCheckSpec(
                "usual_size",
                asset="cleaned_sales",
                description=(
                    "No recent sales exceed or fall short of the store's usual ones by "
                    "FORECAST_UNUSUAL_FACTOR without a second event that confirms them."
                ),
            ),
            ("unusual",),
        ),
    )
}


@dg.multi_asset_check(name="health", specs=[spec for spec, _ in WATCHED.values()], can_subset=True)
def health(
    context: dg.AssetCheckExecutionContext, warehouse: WarehouseResource
) -> Iterator[dg.AssetCheckResult]:
    """Judge the rules of each check."""
    from forecast_assets.planning.health import problems
    from forecast_assets.steps.health import limits_of, read_facts
    from warehouse import sales

    config = settings()
    with warehouse.transaction() as transaction:
        facts = read_facts(transaction, config)
        late = [row for row in facts.late if row.store not in facts.retired]
        newest = sales.newest_days(transaction, "raw_sales", [row.store for row in late])
    by_rule = {problem.rule.value: problem for problem in problems(facts, limits_of(config))}
    for spec, rules in WATCHED.values():
        if spec.key not in context.selected_asset_check_keys:
            continue
        violated = [by_rule[rule] for rule in rules if rule in by_rule]
        reasons = [problem.summary for problem in violated]
        metadata: dict[str, Any] = {
            "violations": sum(len(problem.subjects) for problem in violated),
            "examples": dg.MetadataValue.json(
                [text for problem in violated for text in problem.subjects.values()][:LISTED_NAMES]
            ),
        }
        if spec.name == "fresh" and late:
            keys = _stale_partitions(late, newest)
            reasons.insert(
                0, f"{len(keys)} partitions of {len(late)} stores are stale: {_list_some(keys)}"
            )
            metadata["partitions_stale"] = dg.MetadataValue.json(keys)
        yield dg.AssetCheckResult(
            asset_key=spec.asset_key,
            check_name=spec.name,
            passed=not violated,
            severity=dg.AssetCheckSeverity.WARN,
            description="; ".join(reasons) or PASSED[spec.name],
            metadata=metadata,
        )


#: What the description of a passed check says.
PASSED = {
    "fresh": "no store fails, no change waits for too long, and forecasts start from new sales",
    "sales_arrive": "the sales that were due have come",
    "stream_runs": "the stream runs, or this chain has none",
    "few_quarantined": "few of the last day's events were quarantined",
    "corrections_count": "no correction of the last week has too early a time",
    "usual_size": "no recent sales of an unusual size are unconfirmed",
}


def _stale_partitions(late: "Sequence[LateStore]", newest: Mapping[int, date]) -> list[str]:
    """Return the keys of the partitions that open changes make stale."""
    from forecast_assets.planning.partition_cells import cells_since

    first_days = {row.store: row.first_day for row in late}
    stale = cells_since(first_days, dict(newest), settings().calendar)
    return [partition_key(period, store) for period, stores in stale.items() for store in stores]


def day_complete(warehouse: WarehouseResource) -> dg.AssetCheckResult:
    """List the stores that have no sales of the newest day yet."""
    from warehouse import checks, health

    with warehouse.transaction() as transaction:
        newest, behind = checks.stores_behind(transaction)
        retired = health.retired_stores(transaction)
    behind = [row for row in behind if row["store"] not in retired]
    listed = _list_some([f"{row['store']} ({row['origin']})" for row in behind])
    return dg.AssetCheckResult(
        check_name=DAY_COMPLETE.name,
        passed=not behind,
        severity=dg.AssetCheckSeverity.WARN,
        description=(
            f"{len(behind)} stores are behind {newest}: {listed}. If one is closed for good: "
            "`python -m forecast_assets retire --store N`"
            if behind
            else f"the forecasts of all stores start from {newest}"
        ),
        metadata={"newest_origin": str(newest), "stores_behind": len(behind)},
    )


def _list_some(names: list[str]) -> str:
    """Join names for a description; truncate a long list."""
    return ", ".join(names[:LISTED_NAMES]) + (" …" if len(names) > LISTED_NAMES else "")
