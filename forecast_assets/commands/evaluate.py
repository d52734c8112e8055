"""The command `evaluate`: a rolling-origin evaluation from Kaggle's files, without services.

A window's model sees sales up to its origin. For later days, up to the window's end, it sees only
the plan (openings, promos, holidays). Forecasting and scoring are in `forecasting`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from datetime import date, datetime
from pathlib import Path
from typing import Annotated, TypedDict, Unpack, cast, get_args

import numpy as np
import pandas as pd
import typer
from rich.console import Console
from rich.status import Status
from rich.text import Text

from forecast_assets.commands import weekly_totals
from forecast_assets.commands.files import (
    MAX_HORIZON_DAYS,
    DataFolder,
    SkipBad,
    read_days,
    refuse_unwritable,
)
from forecast_assets.commands.score_listing import score_listing, week_score_listing
from forecast_assets.commands.tables import FormatOption, OutputFormat
from forecast_assets.commands.windows import (
    Window,
    add_naive,
    output_columns,
    score_window,
    windows_until,
)
from forecasting.models.boosting import DEFAULT_TREES
from forecasting.models.dependence import Dependence
from forecasting.models.pooled import Recipe
from forecasting.pipeline import fit_with_forecasts

Say = Callable[[str], None]


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

    `forecast_jointly` returns how days and stores err together, too.

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
    return forecast_jointly(
        days,
        window,
        stores=stores,
        recipe=recipe,
        trees=trees,
        seed=seed,
        threads=threads,
        say=say,
    )[1]


def forecast_jointly(
    days: pd.DataFrame,
    window: Window,
    *,
    stores: Iterable[int] | None,
    recipe: Recipe,
    trees: int = DEFAULT_TREES,
    seed: int = 0,
    threads: int,
    say: Say | None = None,
) -> tuple[Dependence, pd.DataFrame]:
    """Forecast a window as `forecast_window` does; return the model's dependence, too."""
    past = days[days["date"] <= window.origin]
    last = window.origin + pd.Timedelta(days=window.horizon)
    plan = days[(days["date"] > window.origin) & (days["date"] <= last)]
    everyone = np.unique(past.loc[past["sales"].notna(), "store"])
    pooled, out = fit_with_forecasts(
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
    return pooled.dependence, out.merge(truth, on=["store", "date"], how="left")


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


def parse_totals(text: str | None) -> bool:
    """Read the option `--totals`; return whether weekly totals are wanted.

    Raises:
        typer.BadParameter: It is neither missing nor `weekly`.
    """
    if text not in (None, "weekly"):
        raise typer.BadParameter(
            f"{text!r} is not weekly, the only kind of total", param_hint="--totals"
        )
    return text is not None


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
    weekly: bool = False,
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
        weekly: Whether to forecast and score weekly totals instead of days.

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
            score_one = _score_weeks if weekly else _score_days
            out, score = score_one(
                days, window, stores=stores, recipe=recipe, trees=trees, threads=threads, say=say
            )
            score["seconds"] = time.perf_counter() - begin
        console.print(f"{label}: WQL {score['wql']:.4f}, WAPE {score['wape']:.4f}")
        scores[window.origin] = score
        forecasts.append(out)
    return pd.concat(forecasts, ignore_index=True), pd.DataFrame(scores).T


class _Options(TypedDict):
    stores: list[int] | None
    recipe: Recipe
    trees: int
    threads: int
    say: Say | None


def _score_days(
    days: pd.DataFrame, window: Window, **options: Unpack[_Options]
) -> tuple[pd.DataFrame, dict[str, float]]:
    out = add_naive(forecast_window(days, window, **options), days, window)
    return out, score_window(out, days, window)


def _score_weeks(
    days: pd.DataFrame, window: Window, **options: Unpack[_Options]
) -> tuple[pd.DataFrame, dict[str, float]]:
    filled = weekly_totals.close_missing_days(days, window.origin, window.horizon)
    dependence, out = forecast_jointly(filled, window, **options)
    weeks = weekly_totals.week_totals(out, dependence, window.origin)
    return weeks, weekly_totals.score_weeks(weeks, days, window.origin)


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
        totals: Annotated[
            str | None,
            typer.Option(help="`weekly`: forecast and score weekly totals instead of days."),
        ] = None,
        output_format: FormatOption = OutputFormat.TABLE,
        skip_bad: SkipBad = False,
    ) -> None:
        """Score forecasts from past origins, directly from files.

        Each window's model is trained only on sales up to its origin.
        """
        checked_recipe, wanted = parse_recipe(recipe), parse_stores(stores)
        weekly = parse_totals(totals)
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
            weekly=weekly,
        )
        (week_score_listing if weekly else score_listing)(scores).show(output_format, terminal)
        if output is not None:
            frame = weekly_totals.output_columns(forecasts) if weekly else output_columns(forecasts)
            frame.to_parquet(output, index=False)
            progress.print(f"forecasts written to {output}", soft_wrap=True, markup=False)
