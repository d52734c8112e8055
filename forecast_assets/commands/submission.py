"""The command `submission`: a Kaggle submission from Kaggle's files, without services."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
import typer
from rich.console import Console
from rich.text import Text

from forecast_assets.commands.evaluate import parse_recipe
from forecast_assets.commands.files import (
    MAX_HORIZON_DAYS,
    DataFolder,
    SkipBad,
    read_days,
    refuse_unwritable,
)
from forecasting.columns import DAY_COLUMNS, QUANTILE_COLUMNS, QUANTILES
from forecasting.models.boosting import DEFAULT_TREES
from forecasting.models.pooled import Recipe
from forecasting.pipeline import fit_and_predict
from rossmann.kaggle import KaggleFilesError, read_test


def make_submission(
    days: pd.DataFrame,
    test: pd.DataFrame,
    *,
    recipe: Recipe = "stack",
    trees: int = DEFAULT_TREES,
    say: Callable[[str], None] | None = None,
) -> pd.DataFrame:
    """Train on all known sales and forecast every row of test.csv.

    Args:
        days: Day panel of train.csv; rows without sales are ignored.
        test: Rows of test.csv with id, store, date and the plan.
        recipe: `ridge` takes seconds, `stack` minutes.
        trees: Trees of each booster of the stack.
        say: Called with a line of text as the work goes on.

    Returns:
        One row per row of `test`, in its order: Id, Sales, store, date, mean and one column per
        quantile (`q0.1`). Closed days are 0.

    Raises:
        KaggleFilesError: A day of `test` is not after the last known day.
    """
    known = days[days["sales"].notna()]
    if test.empty:
        raise KaggleFilesError("test.csv contains no usable line; there is nothing to forecast")
    origin = known["date"].max()
    horizon = int((test["date"].max() - origin).days)
    if test["date"].min() <= origin:
        raise KaggleFilesError(
            f"test.csv contains {test['date'].min():%Y-%m-%d}, but train.csv ends on "
            f"{origin:%Y-%m-%d}. Its days must be later"
        )
    if horizon > MAX_HORIZON_DAYS:
        raise KaggleFilesError(
            f"test.csv contains {test['date'].max():%Y-%m-%d}, {horizon} days after train.csv "
            f"ends; forecasts reach {MAX_HORIZON_DAYS} days at most"
        )
    plan = test[[name for name in DAY_COLUMNS if name in test]]
    out = fit_and_predict(
        known,
        plan,
        origin,
        recipe,
        horizon=horizon,
        stores=test["store"].unique(),
        trees=trees,
        progress=say,
    )
    rows = test[["id", "store", "date"]].merge(out, on=["store", "date"], how="left")
    names = {name: f"q{level:g}" for name, level in zip(QUANTILE_COLUMNS, QUANTILES, strict=True)}
    rows = rows.rename(columns={"id": "Id", "point": "Sales", **names})
    columns = ["Id", "Sales", "store", "date", "mean", *names.values()]
    return rows[columns].astype({"Id": np.int64})


def register(app: typer.Typer, console: Console | None = None) -> None:
    """Add the command `submission` to a command line."""
    terminal = console or Console()

    @app.command()
    def submission(
        data: DataFolder,
        output: Annotated[Path, typer.Option(help="The CSV file to write, with Id and Sales.")],
        full: Annotated[
            bool, typer.Option("--full", help="Add the columns store, date, mean and quantiles.")
        ] = False,
        recipe: Annotated[str, typer.Option(help="`stack`, or the faster `ridge`.")] = "stack",
        trees: Annotated[int, typer.Option(min=1, help="Trees of each booster.")] = DEFAULT_TREES,
        skip_bad: SkipBad = False,
    ) -> None:
        """Train on all of train.csv and forecast all of test.csv."""
        checked_recipe = parse_recipe(recipe)
        refuse_unwritable(output)
        with terminal.status(Text(f"reading {data}")) as status:
            days = read_days(data, skip_bad=skip_bad)
            # `read_days` has listed the bad lines already, except those with a bad Id.
            test = read_test(data, [] if skip_bad else None, with_ids=True)
            rows = make_submission(
                days,
                test,
                recipe=checked_recipe,
                trees=trees,
                say=status.update,
            )
            columns = list(rows) if full else ["Id", "Sales"]
            rows[columns].to_csv(output, index=False, float_format="%.2f")
        terminal.print(f"{len(rows):,} forecasts written to {output}", soft_wrap=True, markup=False)
