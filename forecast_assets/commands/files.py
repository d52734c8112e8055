"""What the commands that read Kaggle's files share: their options, and how bad lines are told.

The files themselves are read in `rossmann/kaggle.py`.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
import typer
from rich.console import Console

from forecasting.columns import DAY_COLUMNS
from rossmann.kaggle import BadRow, KaggleFilesError, list_bad_rows, read_test, read_train

DataFolder = Annotated[
    Path,
    typer.Option(
        "--data",
        help="A folder with Kaggle's train.csv, store.csv and, if there are plans, test.csv; "
        "plain, .gz or .zip.",
        exists=True,
        file_okay=False,
    ),
]
SkipBad = Annotated[
    bool,
    typer.Option("--skip-bad", help="Set bad lines aside, with their numbers, and use the others."),
]
#: How far ahead a plan can be forecast, in days.
MAX_HORIZON_DAYS = 366


def error_console() -> Console:
    """Return the console for messages: plain text, never wrapped, whatever brackets it contains."""
    return Console(stderr=True, soft_wrap=True, highlight=False, markup=False)


def report_bad_rows(skipped: Sequence[BadRow]) -> None:
    """List the lines that were set aside."""
    errors = error_console()
    for line in list_bad_rows(skipped):
        errors.print(line)


def refuse_unwritable(output: Path) -> None:
    """Refuse an output file that cannot be written, before the long computation starts.

    Raises:
        typer.BadParameter: It is a folder, or its own folder is missing or closed.
    """
    folder = output.absolute().parent
    if not folder.is_dir():
        problem = f"folder {output.parent} does not exist: create it"
    elif output.is_dir():
        problem = f"{output} is a folder: name a file in it"
    elif not os.access(output if output.exists() else folder, os.W_OK):
        problem = f"{output} cannot be written: choose another place"
    else:
        return
    raise typer.BadParameter(problem, param_hint="--output")


def read_days(folder: Path, *, skip_bad: bool = False) -> pd.DataFrame:
    """Read train.csv and, if it exists, test.csv as one day panel.

    Args:
        folder: Folder with Kaggle's files.
        skip_bad: Whether to set bad lines aside, and list them, instead of refusing the file.

    Returns:
        The day panel, sorted by store and date. Planned days have no sales. A planned day without
        `open` counts as open.

    Raises:
        KaggleFilesError: train.csv is missing or empty, or a file is invalid.
    """
    skipped: list[BadRow] | None = [] if skip_bad else None
    known, test = read_train(folder, skipped), read_test(folder, skipped)
    report_bad_rows(skipped or [])
    if known.empty:
        raise KaggleFilesError(f"{folder / 'train.csv'}: no usable line of sales")
    plan = test.reindex(columns=list(DAY_COLUMNS))
    plan["open"] = plan["open"].fillna(1)
    days = pd.concat([known[list(DAY_COLUMNS)], plan], ignore_index=True)
    days = days.drop_duplicates(["store", "date"], keep="first")
    days["open"] = days["open"].astype(np.int16)
    for name in ("sales", "customers"):
        days[name] = days[name].astype(np.float64)
    return days.sort_values(["store", "date"], ignore_index=True)
