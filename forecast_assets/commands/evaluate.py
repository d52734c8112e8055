"""The command `evaluate`: a rolling-origin evaluation from Kaggle's files, without services.

A window's model sees sales up to its origin. For later days, up to the window's end, it sees only
the plan (openings, promos, holidays). Forecasting and scoring are in `forecasting`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Annotated, cast, get_args

import numpy as np
import pandas as pd
import typer
from rich.console import Console
from rich.status import Status
from rich.text import Text

from forecast_assets.commands.files import (
    MAX_HORIZON_DAYS,
    DataFolder,
    SkipBad,
    read_days,
    refuse_unwritable,
)
from forecast_assets.commands.score_listing import score_listing
from forecast_assets.commands.tables import FormatOption, OutputFormat
from forecasting import scoring
from forecasting.columns import QUANTILE_COLUMNS, QUANTILES
from forecasting.models.boosting import DEFAULT_TREES
from forecasting.models.naive import seasonal_naive
from forecasting.models.pooled import Recipe
from forecasting.pipeline import fit_and_predict

#: The season length for MASE and SQL, and the quantiles for WQL and SQL, are those of fev-bench's
#: task rossmann_1D.
SCALE_SEASON = 7
SCORED_QUANTILES = tuple(level for level in QUANTILES if 0.1 <= level <= 0.9)
SCORED_COLUMNS = [
    name for name, level in zip(QUANTILE_COLUMNS, QUANTILES, strict=True) if 0.1 <= level <= 0.9
]
NAIVE_SEASON = 14

Say = Callable[[str], None]


@dataclass(frozen=True)
class Window:
    """One origin and the days forecast from it."""

    origin: pd.Timestamp
    horizon: int


def windows_until(end: pd.Timestamp, horizon: int, step: int, count: int) -> list[Window]:
    """List evaluation windows, oldest first; the newest one's last forecast day is `end`."""
    last = end - pd.Timedelta(days=horizon)
    return [Window(last - pd.Timedelta(days=step * k), horizon) for k in reversed(range(count))]


def forecast_window(
    days: pd.DataFrame,
    window: Window,
    *,
    stores: Iterable[int] | None = None,
    recipe: Recipe = "stack",
    trees: int = DEFAULT_TREES,
    seed: int = 0,
    threads: int = 2,
    say: Say | None = None,
) -> pd.DataFrame:
    """Train on the days up to a window's origin, and forecast the window.

    Args:
        days: Day panel. Sales after the origin and plans after the window are not read.
        window: Origin and horizon.
        stores: Stores to forecast, by default all that have sales up to the origin. The model is
            always trained on all of these.
        recipe: `ridge` takes seconds, `stack` minutes.
        trees: Trees of each booster of the stack.
        seed: Seed of every random choice.
        threads: Threads for LightGBM; fewer are faster on a busy machine.
        say: Called with a line of text that describes the current step.

    Returns:
        The frame that `forecasting.prediction.forecast` returns, plus the column `actual`: the
        known sales, NaN elsewhere.
    """
    past = days[days["date"] <= window.origin]
    last = window.origin + pd.Timedelta(days=window.horizon)
    plan = days[(days["date"] > window.origin) & (days["date"] <= last)]
    everyone = np.unique(past.loc[past["sales"].notna(), "store"])
    out = fit_and_predict(
        past[past["store"].isin(everyone)],
        plan[plan["store"].isin(everyone)].drop(columns=["sales", "customers"]),
        window.origin,
        recipe,
        horizon=window.horizon,
        stores=stores,
        trees=trees,
        seed=seed,
        threads=threads,
        progress=say,
    )
    truth = days[["store", "date", "sales"]].rename(columns={"sales": "actual"})
    return out.merge(truth, on=["store", "date"], how="left")


def add_naive(out: pd.DataFrame, days: pd.DataFrame, window: Window) -> pd.DataFrame:
    """Add the seasonal naive forecast as the column `naive`; closed days are 0."""
    origins = pd.Series(window.origin, index=np.unique(out["store"]))
    naive = seasonal_naive(days, origins, window.horizon, NAIVE_SEASON)
    both = out.merge(
        naive[["store", "date", "point"]].rename(columns={"point": "naive"}),
        on=["store", "date"],
        how="left",
    )
    both["naive"] = both["naive"].fillna(0.0) * both["open"]
    return both


def score_window(out: pd.DataFrame, days: pd.DataFrame, window: Window) -> dict[str, float]:
    """Score a window's forecasts on the days with known sales.

    RMSPE scores `point`; MAPE, WAPE and MASE score the median; bias scores `mean`. RMSPE, MAPE and
    coverage use days with sales. The others use all days, including closed ones, as fev-bench does.

    Args:
        out: Result of `forecast_window` with a column `naive`.
        days: Day panel, for the scale of MASE and SQL. Days after the origin are not read.
        window: The window.

    Returns:
        Name -> measure; NaN if no actual sales are known.
    """
    actual = out["actual"].to_numpy(np.float64)
    median = out["q0_5"].to_numpy()
    quantiles = out[SCORED_COLUMNS].to_numpy()
    levels = np.array(SCORED_QUANTILES)
    known = days[days["sales"].notna()]
    scale = out["store"].map(scoring.seasonal_scale(known, window.origin, SCALE_SEASON)).to_numpy()
    sold = out[out["actual"] > 0]
    sales = sold["actual"].to_numpy()
    naive = out["naive"].to_numpy()
    return {
        "rmspe": scoring.rmspe(actual, out["point"].to_numpy()),
        "mape": scoring.mape(actual, median),
        "wape": scoring.wape(actual, median),
        "mase": scoring.mase(actual, median, scale),
        "wql": scoring.wql(actual, quantiles, levels),
        "sql": scoring.sql(actual, quantiles, levels, scale),
        "coverage_80": scoring.coverage(sales, sold["q0_1"].to_numpy(), sold["q0_9"].to_numpy()),
        "coverage_95": scoring.coverage(
            sales, sold["q0_025"].to_numpy(), sold["q0_975"].to_numpy()
        ),
        "bias": scoring.bias(actual, out["mean"].to_numpy()),
        "naive_rmspe": scoring.rmspe(actual, naive),
        "naive_wape": scoring.wape(actual, naive),
        "naive_mase": scoring.mase(actual, naive, scale),
        "naive_wql": scoring.wql(actual, np.repeat(naive[:, None], len(levels), axis=1), levels),
    }


def output_columns(out: pd.DataFrame) -> pd.DataFrame:
    """Select and rename the columns for the output file: `q0.1` for `q0_1`."""
    names = {name: f"q{level:g}" for name, level in zip(QUANTILE_COLUMNS, QUANTILES, strict=True)}
    columns = ["store", "origin", "date", "point", "mean", *QUANTILE_COLUMNS, "actual"]
    return out[columns].rename(columns=names)


def parse_stores(text: str | None) -> list[int] | None:
    """Read a comma-separated list of store numbers.

    Raises:
        typer.BadParameter: A part is not a number.
    """
    if text is None:
        return None
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise typer.BadParameter(
            f"{text!r} is no comma-separated list of store numbers: write 1,2,3",
            param_hint="--stores",
        ) from None


def parse_recipe(text: str) -> Recipe:
    """Read the option `--recipe`.

    Raises:
        typer.BadParameter: There is no such recipe.
    """
    for recipe in get_args(Recipe):
        if text == recipe:
            return cast("Recipe", recipe)
    raise typer.BadParameter(f"{text!r} is neither ridge nor stack", param_hint="--recipe")


def _refuse_windows_outside(
    end: date, horizon: int, step: int, count: int, first: date, last: date
) -> None:
    """Refuse windows whose origins are before the first or after the last day of sales.

    Days are counted as integers: what is asked for may lie where no calendar reaches.
    """
    newest = end.toordinal() - horizon
    if newest > last.toordinal():
        raise typer.BadParameter(
            f"forecasts of the {horizon} days up to {end} would need sales up to "
            f"{newest - last.toordinal():,} days after the last known ones, of {last}: choose an "
            "earlier end",
            param_hint="--end",
        )
    if newest <= first.toordinal():
        raise typer.BadParameter(
            f"sales begin on {first}, so no window of {horizon} days can end on {end}: choose a "
            "later end or a shorter horizon",
            param_hint="--end",
        )
    possible = (newest - first.toordinal() - 1) // step + 1
    if count > possible:
        raise typer.BadParameter(
            f"sales begin on {first}, which leaves room for {possible} windows with origins "
            f"{step:,} days apart: ask for fewer",
            param_hint="--windows",
        )


def _refuse_unknown_stores(stores: list[int] | None, known: pd.DataFrame) -> None:
    unknown = sorted(set(stores or []) - set(known["store"]))
    if unknown:
        raise typer.BadParameter(
            f"train.csv has no sales of store {unknown[0]}", param_hint="--stores"
        )


def evaluate_windows(
    days: pd.DataFrame,
    windows: list[Window],
    console: Console,
    *,
    stores: list[int] | None,
    recipe: Recipe,
    trees: int,
    threads: int,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Forecast and score each window; show the progress on a console.

    Args:
        days: Day panel.
        windows: The windows.
        console: Where to show the progress.
        stores: Stores to forecast, by default all.
        recipe: `ridge` takes seconds per window, `stack` minutes.
        trees: Trees of each booster of the stack.
        threads: Threads for LightGBM.

    Returns:
        The forecasts of all windows, and the scores with one row per origin.
    """
    forecasts, scores = [], {}
    for k, window in enumerate(windows, start=1):
        label = f"window {k} of {len(windows)}, origin {window.origin:%Y-%m-%d}"
        with console.status(label) as status:

            def say(text: str, label: str = label, status: Status = status) -> None:
                status.update(f"{label}: {text}")

            begin = time.perf_counter()
            out = forecast_window(
                days, window, stores=stores, recipe=recipe, trees=trees, threads=threads, say=say
            )
            out = add_naive(out, days, window)
            score = score_window(out, days, window)
            score["seconds"] = time.perf_counter() - begin
        console.print(f"{label}: RMSPE {score['rmspe']:.4f}, WAPE {score['wape']:.4f}")
        scores[window.origin] = score
        forecasts.append(out)
    return pd.concat(forecasts, ignore_index=True), pd.DataFrame(scores).T


def register(app: typer.Typer, console: Console | None = None) -> None:
    """Add the command `evaluate` to a command line."""
    terminal = console or Console()

    @app.command()
    def evaluate(
        data: DataFolder,
        horizon: Annotated[int, typer.Option(min=1, max=MAX_HORIZON_DAYS, help="Days ahead.")] = 42,
        step: Annotated[int, typer.Option(min=1, help="Days between two origins.")] = 42,
        windows: Annotated[int, typer.Option(min=1, help="How many origins.")] = 6,
        end: Annotated[
            datetime | None,
            typer.Option(
                formats=["%Y-%m-%d"],
                help="Last forecast day of the newest window. Default: the last day of train.csv.",
            ),
        ] = None,
        stores: Annotated[
            str | None,
            typer.Option(help="Forecast only these stores (1,2,3). Training uses all stores."),
        ] = None,
        output: Annotated[
            Path | None, typer.Option(help="Write the forecasts to this parquet file.")
        ] = None,
        recipe: Annotated[str, typer.Option(help="`stack`, or the faster `ridge`.")] = "stack",
        trees: Annotated[int, typer.Option(min=1, help="Trees of each booster.")] = DEFAULT_TREES,
        threads: Annotated[
            int,
            typer.Option(min=1, max=1_024, help="Threads for LightGBM; fewer on a busy machine."),
        ] = 2,
        output_format: FormatOption = OutputFormat.TABLE,
        skip_bad: SkipBad = False,
    ) -> None:
        """Score forecasts from past origins, directly from files.

        Each window's model is trained only on sales up to its origin.
        """
        checked_recipe, wanted = parse_recipe(recipe), parse_stores(stores)
        if output is not None:
            refuse_unwritable(output)
        # Programs read the scores from standard output; what is said meanwhile goes elsewhere.
        progress = terminal if output_format is OutputFormat.TABLE else Console(stderr=True)
        with progress.status(Text(f"reading {data}")):
            days = read_days(data, skip_bad=skip_bad)
        known = days[days["sales"].notna()]
        first, last = known["date"].min(), known["date"].max()
        newest = (end or last).date()
        _refuse_windows_outside(newest, horizon, step, windows, first.date(), last.date())
        evaluated = windows_until(pd.Timestamp(newest), horizon, step, windows)
        _refuse_unknown_stores(wanted, known)
        forecasts, scores = evaluate_windows(
            days,
            evaluated,
            progress,
            stores=wanted,
            recipe=checked_recipe,
            trees=trees,
            threads=threads,
        )
        score_listing(scores).show(output_format, terminal)
        if output is not None:
            output_columns(forecasts).to_parquet(output, index=False)
            progress.print(f"forecasts written to {output}", soft_wrap=True, markup=False)
