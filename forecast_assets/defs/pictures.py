"""What assets show of their rows in the UI: frames to small pictures."""

from __future__ import annotations

from typing import TYPE_CHECKING

from forecast_assets import plots

if TYPE_CHECKING:
    import pandas as pd

SHOWN_DAYS = 56
"""Days of history beside the forecast: two promo cycles before it and more."""


def forecast_picture(days: pd.DataFrame, rows: pd.DataFrame, store: int) -> str:
    """Draws a store's last sales, its forecast and both intervals.

    Args:
        days: Day panel with the store's history.
        rows: Forecast frame with the store's coming days.
        store: The store.

    Returns:
        Markdown with the picture inline.
    """
    mine = rows[rows["store"] == store].sort_values("date")
    origin = mine["origin"].max()
    past = days[(days["store"] == store) & (days["date"] <= origin) & days["sales"].notna()]
    past = past.sort_values("date").tail(SHOWN_DAYS)
    labels = [f"{day:%d %b}" for day in [*past["date"], *mine["date"]]]
    before, after = [float("nan")] * len(past), [float("nan")] * len(mine)

    def coming(column: str) -> list[float]:
        return before + [float(value) for value in mine[column]]

    svg = plots.line_chart(
        f"Store {store}: sales, and forecast from {origin:%Y-%m-%d}",
        labels,
        [
            plots.Line("sold", [float(value) for value in past["sales"]] + after),
            plots.Line("forecast", coming("point")),
        ],
        [
            plots.Band("95 %", coming("q0_025"), coming("q0_975")),
            plots.Band("80 %", coming("q0_1"), coming("q0_9")),
        ],
    )
    return plots.markdown(svg, f"store {store}")
