"""Small charts of forecasts and models for the UIs.

The drawing itself is in `plots.py`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from forecast_assets import plots
from forecast_assets.thumbnails import thumbnail
from forecasting.evaluation.accuracy import Accuracy

if TYPE_CHECKING:
    import pandas as pd

    from forecasting.models.pooled import PooledModel

#: Days of history shown before a forecast: at least two promo cycles.
HISTORY_DAYS = 56

#: The same for a small picture.
SMALL_HISTORY_DAYS = 28

#: How many lead weeks the text of a small picture lists.
SMALL_WEEKS = 8

#: How many of the most important regressors a chart shows.
BARS = 15


def draw_forecast(days: pd.DataFrame, rows: pd.DataFrame, store: int) -> str:
    """Draw a store's recent sales, its forecast and both prediction intervals.

    Args:
        days: Day panel with the store's history.
        rows: Forecast frame with the store's future days.
        store: The store.

    Returns:
        Markdown with the picture inline.
    """
    forecast = rows[rows["store"] == store].sort_values("date")
    origin = forecast["origin"].max()
    past = days[(days["store"] == store) & (days["date"] <= origin) & days["sales"].notna()]
    past = past.sort_values("date").tail(HISTORY_DAYS)
    labels = [f"{day:%d %b}" for day in [*past["date"], *forecast["date"]]]
    before, after = [float("nan")] * len(past), [float("nan")] * len(forecast)

    def future(column: str) -> list[float]:
        return before + [float(value) for value in forecast[column]]

    svg = plots.line_chart(
        f"Store {store}: sales, and forecast from {origin:%Y-%m-%d}",
        labels,
        [
            plots.Line("sold", [float(value) for value in past["sales"]] + after),
            plots.Line("forecast", future("point")),
        ],
        [
            plots.Band("95 %", future("q0_025"), future("q0_975")),
            plots.Band("80 %", future("q0_1"), future("q0_9")),
        ],
    )
    return plots.markdown(svg, f"store {store}")


def draw_small_forecast(days: pd.DataFrame, rows: pd.DataFrame, store: int) -> str:
    """Draw a store's last sales and its forecast, small enough for an overview.

    Args:
        days: Day panel with the store's history.
        rows: Forecast frame with the store's future days.
        store: The store.

    Returns:
        Markdown with the picture inline.
    """
    forecast = rows[rows["store"] == store].sort_values("date")
    origin = forecast["origin"].max()
    past = days[(days["store"] == store) & (days["date"] <= origin) & days["sales"].notna()]
    sold = past.sort_values("date")["sales"].tail(SMALL_HISTORY_DAYS).tolist()
    before, after = [float("nan")] * len(sold), [float("nan")] * len(forecast)
    return thumbnail(
        f"store {store}",
        [
            plots.Line("sold", sold + after),
            plots.Line("forecast", before + forecast["point"].tolist()),
        ],
        plots.Band("80 %", before + forecast["q0_1"].tolist(), before + forecast["q0_9"].tolist()),
        text=f"Store {store}: sold, and {len(forecast)} days from {origin:%Y-%m-%d}",
    )


def draw_accuracy(rows: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Draw the error of recent forecasts by lead time.

    Args:
        rows: Sums by kind and week of lead time, as `warehouse.accuracy.by_lead_week` returns.
            Issued forecasts count; before the first of them can be scored, backtests do.

    Returns:
        Name -> Markdown: a `picture` for an overview, and `by_lead_time` with labels. Empty if
        nothing has been scored.
    """
    kind = "issued" if any(row["kind"] == "issued" for row in rows) else "backtest"
    scored = [(int(row["lead_week"]), Accuracy.of([row])) for row in rows if row["kind"] == kind]
    errors = [(week, measured.wape) for week, measured in scored if measured.wape >= 0]
    if not errors:
        return {}
    values = [wape for _, wape in errors]
    title = f"WAPE of {kind} forecasts by weeks ahead"
    chart = plots.bar_chart(title, [(f"{7 * w - 6} to {7 * w} days", wape) for w, wape in errors])
    listed = " ".join(f"{wape:.1%}" for wape in values[:SMALL_WEEKS])
    return {
        "picture": thumbnail(title, [plots.Line("WAPE", values)], text=f"{title}: {listed}"),
        "by_lead_time": plots.markdown(chart, title),
    }


def draw_model(model: PooledModel) -> dict[str, str]:
    """Return name -> SVG of each chart that the model has data for."""
    from forecasting.models.importance import linear_importance, tree_importance

    pictures = {
        "importance": plots.bar_chart(
            "What moves a typical store's sales from day to day",
            [(str(name), float(v)) for name, v in linear_importance(model).head(BARS).items()],
        )
    }
    trees = tree_importance(model).head(BARS)
    if len(trees):
        pictures["tree_importance"] = plots.bar_chart(
            "What the trees split on, as a share of gain",
            [(str(name), float(v)) for name, v in trees.items()],
        )
    if model.by_origin:
        pictures["accuracy_by_origin"] = plots.line_chart(
            "Error on past origins that the model had not seen",
            [str(measured["origin"]) for measured in model.by_origin],
            [
                plots.Line(name.upper(), [measured[name] for measured in model.by_origin])
                for name in ("rmspe", "wape")
            ],
            percent=True,
        )
    return pictures
