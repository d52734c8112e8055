"""Which days are history and which are played live, and the calendar that covers them."""

import calendar
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path

import pandas as pd

from local_stack.errors import StackError
from rossmann import fields, kaggle
from rossmann.sample_data import sample_files

# About 26 months of 100 stores: two Christmases, and the first training takes seconds.
SAMPLE_STORES = 100
SAMPLE_DAYS = 800
SAMPLE_LIVE_DAYS = 3
DATA_LIVE_DAYS = 7
#: Seasonal terms need a year to mean anything; less history still runs.
LEAST_HISTORY_DAYS = 60


@dataclass(frozen=True)
class DataPlan:
    """The data that a stack starts with.

    Attributes:
        folder: The folder of `train.csv`, `store.csv` and, perhaps, `test.csv`.
        history_until: The last day that is loaded as history.
        live: Rows of the live days, with the columns of `train.csv`.
        first_day: The first day with sales.
        calendar: First day and last day of the sales calendar; None leaves it open.
        stores: Number of stores in `store.csv`.
        skipped: Bad lines that were set aside; None refuses files that contain any.
    """

    folder: Path
    history_until: date
    live: pd.DataFrame
    first_day: date
    calendar: tuple[date, date | None]
    stores: int
    skipped: list[kaggle.BadRow] | None = None

    @property
    def live_days(self) -> list[date]:
        """The days that are produced to Kafka, in order."""
        return [day.date() for day in pd.to_datetime(sorted(self.live["Date"].unique()))]

    @property
    def last_day(self) -> date:
        """The last day with sales."""
        return max([self.history_until, *self.live_days])

    def rows_of(self, day: date) -> pd.DataFrame:
        """Return the live rows of a day."""
        return self.live[self.live["Date"] == day.isoformat()]


def plan_of_files(
    folder: Path,
    live_days: int = DATA_LIVE_DAYS,
    *,
    open_end: bool = False,
    skip_bad: bool = False,
) -> DataPlan:
    """Plan Kaggle's files; their last days are played live.

    Args:
        folder: Folder with the files, plain, `.gz` or `.zip`.
        live_days: How many days to play live; 0 makes all of them history.
        open_end: Whether the calendar stays open, for data that ends today.
        skip_bad: Whether to set bad lines aside instead of refusing the files.

    Raises:
        StackError: A file is missing, truncated or invalid, or the history is too short.
    """
    if not folder.is_dir():
        raise StackError(f"DATA={folder} is not a folder: set it to the one that holds train.csv.")
    try:
        files = kaggle.read_files(folder, skip_bad=skip_bad)
    except kaggle.KaggleFilesError as error:
        raise StackError(str(error)) from error
    train, test = files.train, files.test
    days = sorted(train["date"].unique())
    if len(days) < LEAST_HISTORY_DAYS + live_days:
        raise StackError(
            f"{folder}: train.csv has {len(days)} days, but {LEAST_HISTORY_DAYS} days of history "
            f"and {live_days} live days are needed."
        )
    first, until = pd.Timestamp(days[0]).date(), pd.Timestamp(days[-1 - live_days]).date()
    end = pd.concat([train["date"], test["date"]]).max().date()
    month_end = end.replace(day=calendar.monthrange(end.year, end.month)[1])
    live = train[train["date"] > pd.Timestamp(until)]
    return DataPlan(
        folder=folder,
        history_until=until,
        live=live.assign(date=live["date"].dt.strftime("%Y-%m-%d")).rename(
            columns={new: old for old, new in fields.COLUMNS.items()}
        ),
        first_day=first,
        calendar=(first.replace(day=1), None if open_end else month_end),
        stores=len(files.stores),
        skipped=files.skipped if skip_bad else None,
    )


def plan_of_sample(folder: Path, live_days: int = SAMPLE_LIVE_DAYS, seed: int = 1) -> DataPlan:
    """Make sample data that ends today, and plan it.

    Args:
        folder: Where its files go.
        live_days: How many days to play live.
        seed: Seed of the generator.

    Raises:
        StackError: The files cannot be written.
    """
    today = datetime.now(UTC).date()
    try:
        sample_files(SAMPLE_STORES, SAMPLE_DAYS, today, seed).write(folder)
    except OSError as error:
        raise StackError(
            f"The sample data cannot be written to {folder}: {error.strerror or error}."
        ) from error
    return plan_of_files(folder, live_days, open_end=True)
