"""The scores of `evaluate` as a listing; computing them is in `evaluate.py`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from forecast_assets.commands.tables import Column, Listing

if TYPE_CHECKING:
    import pandas as pd

_COLUMNS = (
    Column("origin", "origin"),
    Column("rmspe", "RMSPE", ".4f"),
    Column("mape", "MAPE", ".4f"),
    Column("wape", "WAPE", ".4f"),
    Column("mase", "MASE", ".4f"),
    Column("wql", "WQL", ".4f"),
    Column("sql", "SQL", ".4f"),
    Column("coverage_80", "80 %", ".4f"),
    Column("coverage_95", "95 %", ".4f"),
    Column("bias", "bias", ".4f"),
    Column("closure_days", "days before closures", ".0f"),
    Column("closure_rmspe", "their RMSPE", ".4f"),
    Column("closure_coverage_80", "their 80 %", ".4f"),
    Column("naive_rmspe", "naive RMSPE", ".4f"),
    Column("naive_wape", "naive WAPE", ".4f"),
    Column("naive_mase", None),
    Column("naive_wql", "naive WQL", ".4f"),
    Column("seconds", "seconds", ".0f"),
)

_WEEK_COLUMNS = (
    Column("origin", "origin"),
    *(Column(name, name.upper(), ".4f") for name in ("wape", "wql", "mase", "sql")),
    Column("coverage_80", "80 %", ".4f"),
    Column("coverage_95", "95 %", ".4f"),
    Column("bias", "bias", ".4f"),
    Column("chain_coverage_80", "chain, 80 %", ".4f"),
    Column("chain_coverage_95", "chain, 95 %", ".4f"),
    Column("seconds", "seconds", ".0f"),
)


def score_listing(scores: pd.DataFrame) -> Listing:
    """Lay out scores: one row per window, and their mean."""
    return _listing(
        scores, "Forecasts by origin, compared with the 14-day seasonal naive", _COLUMNS
    )


def week_score_listing(scores: pd.DataFrame) -> Listing:
    """Lay out scores of weekly totals: one row per window, and their mean."""
    return _listing(scores, "Weekly totals by origin", _WEEK_COLUMNS)


def _listing(scores: pd.DataFrame, title: str, columns: tuple[Column, ...]) -> Listing:
    rows = [(f"{origin:%Y-%m-%d}", row) for origin, row in scores.iterrows()]
    return Listing(
        title,
        columns,
        [
            {"origin": label} | {str(name): float(value) for name, value in row.items()}
            for label, row in [*rows, ("mean", scores.mean())]
        ],
    )
