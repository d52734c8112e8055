"""Totals of forecasts with intervals. The asset `forecasts` writes them, a check judges them.

Statements are in `warehouse/totals.py`, the computation in `forecasting/chain_totals.py`.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from warehouse.health_bounds import MIN_TOTAL_DAYS, USUAL_TOTALS_80

if TYPE_CHECKING:
    import pandas as pd

    from forecasting.models.dependence import Dependence
    from warehouse.connection import Transaction

#: Newest days whose totals are judged.
JUDGED_DAYS = 28
#: Share of the chain's and groups' totals that the 95 % interval may hold.
USUAL_95 = (0.8, 1.0)
#: Shares for weeks of single stores, of which there are many: the 80 % and the 95 % interval.
USUAL_STORE_80, USUAL_STORE_95 = (0.7, 0.9), (0.88, 0.995)


def write_totals(
    transaction: Transaction,
    refresh_id: str,
    stores: Collection[int],
    dependence: Dependence,
    model_version: str | None,
) -> pd.DataFrame:
    """Sum the forecasts in force, and write the totals of a refresh.

    Args:
        transaction: The open transaction; the refresh's forecasts are written.
        refresh_id: The Dagster run.
        stores: Stores that the refresh has forecast; the weeks of the others have not changed.
        dependence: How days and stores err together, by the newest model.
        model_version: That model's version.

    Returns:
        The rows that were written.
    """
    from forecasting.chain_totals import chain_totals
    from warehouse import totals

    rows = chain_totals(
        totals.forecasts_in_force(transaction), totals.stores(transaction), dependence, stores
    )
    totals.issue(transaction, rows, refresh_id, model_version)
    return rows


def weeks_table(rows: pd.DataFrame) -> str:
    """Return the chain's weeks as a Markdown table, for the UI."""
    weeks = rows[(rows["level"] == "chain") & (rows["grain"] == "week")]
    lines = ["| from | to | total | 80 % from | to |", "|---|---|---|---|---|"]
    lines += [
        f"| {row.first_day:%Y-%m-%d} | {row.last_day:%Y-%m-%d} | {row.mean:,.0f} "
        f"| {row.q0_1:,.0f} | {row.q0_9:,.0f} |"
        for row in weeks.itertuples()
    ]
    return "\n".join(lines)


def recent_totals(transaction: Transaction) -> list[dict[str, Any]]:
    """Return how often the intervals of recent totals held the actual total, by level and grain."""
    from warehouse import accuracy, totals

    newest = accuracy.newest_day(transaction)
    if newest is None:
        return []
    return totals.against_sales(transaction, newest - timedelta(days=JUDGED_DAYS - 1))


def judge_totals(rows: list[dict[str, Any]]) -> tuple[bool, str, str]:
    """Judge the coverage of totals.

    Args:
        rows: Result of `recent_totals`.

    Returns:
        Whether the coverage is usual, a summary, and a Markdown table by level and grain.
    """
    findings, judged = [], 0
    lines = ["| total | number | last days | 80 % | 95 % |", "|---|---|---|---|---|"]
    for row in rows:
        name = f"{row['grain']}s of {row['level'].replace('_', ' ')}"
        share_80, share_95 = (row[f"inside_{level}"] / row["totals"] for level in (80, 95))
        lines.append(
            f"| {name} | {row['totals']:,} | {row['last_days']} | {share_80:.1%} | {share_95:.1%} |"
        )
        if row["last_days"] < MIN_TOTAL_DAYS[row["grain"]]:
            continue
        judged += 1
        usual = (USUAL_TOTALS_80, USUAL_95)
        if row["level"] == "store":
            usual = (USUAL_STORE_80, USUAL_STORE_95)
        for level, share, (low, high) in zip((80, 95), (share_80, share_95), usual, strict=True):
            if not low <= share <= high:
                width = "too narrow" if share < low else "too wide"
                findings.append(f"{name}: the {level} % interval holds {share:.1%}: {width}")
    summary = "; ".join(findings) or (
        f"the intervals of {judged} kinds of total held about what they promise"
        if judged
        else "too few totals are known yet"
    )
    return not findings, summary, "\n".join(lines) if rows else ""
