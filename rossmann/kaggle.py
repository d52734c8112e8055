"""Kaggle's Rossmann files (`train.csv`, `test.csv`, `store.csv`) as frames.

Every command reads them here. What can be read without doubt is read; anything else is refused
with its file, line and value, or set aside when the caller asks for that. How the files may be
packed and written is in `csv_files.py`; loading into PostgreSQL is in `warehouse/loading.py`.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd

from rossmann import fields, parsing
from rossmann.csv_files import (
    BadRow,
    KaggleFilesError,
    TextTable,
    find,
    list_bad_rows,
    read_text_table,
)
from rossmann.event_times import SALES_AHEAD_DAYS
from rossmann.rows import Rows

__all__ = [
    "BadRow",
    "KaggleFiles",
    "KaggleFilesError",
    "list_bad_rows",
    "read_files",
    "read_stores",
    "read_test",
    "read_train",
]

ID = "Id"
TRAIN_COLUMNS = list(fields.FIELDS)
TEST_COLUMNS = [name for name in fields.FIELDS if name not in fields.OUTCOME_FIELDS]
STORE_COLUMNS = [
    "Store", "StoreType", "Assortment", "CompetitionDistance", "CompetitionOpenSinceMonth",
    "CompetitionOpenSinceYear", "Promo2", "Promo2SinceWeek", "Promo2SinceYear", "PromoInterval",
]  # fmt: skip
#: Columns of which a part of a value is no value: their end shows whether it was cut off.
_SELF_DELIMITING = (*fields.FLAGS, fields.DAY_OF_WEEK, fields.STATE_HOLIDAY, fields.DATE)
#: Days after today that a plan may reach; a later day is a mistyped one.
PLAN_REACH_DAYS = 731

#: How to read each column of `store.csv`, and the column of the table `stores` that it fills.
_STORE_FIELDS: dict[str, tuple[str, parsing.Parse, bool]] = {
    "Store": ("store", parsing.whole(1, parsing.MAX_STORE), True),
    "StoreType": ("store_type", parsing.word, True),
    "Assortment": ("assortment", parsing.word, True),
    "CompetitionDistance": ("competition_distance", parsing.measure, False),
    "CompetitionOpenSinceMonth": ("competition_open_since_month", parsing.whole(1, 12), False),
    "CompetitionOpenSinceYear": ("competition_open_since_year", parsing.whole(1, 9999), False),
    "Promo2": ("promo2", parsing.flag, True),
    "Promo2SinceWeek": ("promo2_since_week", parsing.whole(1, 53), False),
    "Promo2SinceYear": ("promo2_since_year", parsing.whole(1, 9999), False),
    "PromoInterval": ("promo_interval", parsing.word, False),
}
_DAY_FIELDS: dict[str, parsing.Parse] = {
    fields.STORE: parsing.whole(1, parsing.MAX_STORE),
    fields.DAY_OF_WEEK: parsing.whole(1, 7),
    fields.DATE: parsing.day,
    fields.SALES: parsing.whole(0, parsing.MAX_INTEGER),
    fields.CUSTOMERS: parsing.whole(0, parsing.MAX_INTEGER),
    fields.OPEN: parsing.flag,
    fields.PROMO: parsing.flag,
    fields.STATE_HOLIDAY: parsing.holiday,
    fields.SCHOOL_HOLIDAY: parsing.flag,
    ID: parsing.whole(0, parsing.MAX_INTEGER),
}


@dataclass(frozen=True)
class KaggleFiles:
    """The three files, in which every day's store is known.

    Attributes:
        stores: Rows of the table `stores`.
        train: Days with sales; see `read_train`.
        test: Planned days; see `read_test`. Empty without a test.csv.
        skipped: The rows that were set aside.
        planned_at: When the plans were written: the modification time of test.csv, or without one
            of train.csv.
    """

    stores: pd.DataFrame
    train: pd.DataFrame
    test: pd.DataFrame
    skipped: list[BadRow]
    planned_at: datetime


def read_files(folder: Path, *, skip_bad: bool = False) -> KaggleFiles:
    """Read store.csv, train.csv and, if there is one, test.csv.

    Args:
        folder: The folder of the files.
        skip_bad: Whether to set bad rows aside instead of refusing the file.

    Raises:
        KaggleFilesError: A file is missing or damaged, or contains a bad row.
    """
    skipped: list[BadRow] | None = [] if skip_bad else None
    stores = read_stores(folder, skipped)
    known = stores["store"].tolist()
    train = read_train(folder, skipped, stores=known)
    if train.empty:
        raise KaggleFilesError(f"{_require(folder, 'train.csv')}: no usable line of sales")
    test = read_test(folder, skipped, stores=known)
    plans = find(folder, "test.csv") or _require(folder, "train.csv")
    planned_at = datetime.fromtimestamp(plans.stat().st_mtime, UTC)
    return KaggleFiles(stores, train, test, skipped or [], planned_at)


def read_train(
    folder: Path,
    skipped: list[BadRow] | None = None,
    *,
    stores: Collection[int] | None = None,
) -> pd.DataFrame:
    """Read train.csv.

    Args:
        folder: The folder of the file.
        skipped: Bad rows are appended to it and left out. None refuses the file.
        stores: The stores that a row may name; by default any.

    Returns:
        One row per store and date, in the file's order: store, day_of_week, date, sales,
        customers, open, promo, state_holiday, school_holiday.

    Raises:
        KaggleFilesError: The file is missing or damaged, or contains a bad row.
    """
    path = _require(folder, "train.csv")
    rows = _day_rows(path, TRAIN_COLUMNS)
    sales, is_open = rows.values[fields.SALES], rows.values[fields.OPEN]
    rows.refuse((is_open == 0) & (sales > 0), "Sales on a day with Open 0; one of them is wrong")
    _refuse_later(rows, SALES_AHEAD_DAYS, "sales of a day that has not come")
    return _settle_days(rows, stores, skipped, TRAIN_COLUMNS)


def read_test(
    folder: Path,
    skipped: list[BadRow] | None = None,
    *,
    stores: Collection[int] | None = None,
    with_ids: bool = False,
) -> pd.DataFrame:
    """Read test.csv: planned days, without sales; `open` may be missing.

    Args:
        folder: The folder of the file.
        skipped: As for `read_train`.
        stores: As for `read_train`.
        with_ids: Whether the file and its column `Id` must be there, as a submission needs them.

    Returns:
        The days, with `id` if asked for; no rows if there is no file.

    Raises:
        KaggleFilesError: The file is damaged, contains a bad row, or is missing though needed.
    """
    columns = [ID, *TEST_COLUMNS] if with_ids else TEST_COLUMNS
    path = _require(folder, "test.csv") if with_ids else find(folder, "test.csv")
    rows = _day_rows(path, columns) if path else Rows.empty(folder / "test.csv", columns)
    _refuse_later(rows, PLAN_REACH_DAYS, "a plan for a day that far ahead")
    if with_ids:
        rows.refuse_duplicates([ID], "the Id appears twice")
    return _settle_days(rows, stores, skipped, columns)


def read_stores(folder: Path, skipped: list[BadRow] | None = None) -> pd.DataFrame:
    """Read store.csv, with the column names of the table `stores`.

    Args:
        folder: The folder of the file.
        skipped: As for `read_train`.

    Raises:
        KaggleFilesError: The file is missing or damaged, or contains a bad row.
    """
    path = _require(folder, "store.csv")
    table = read_text_table(path, STORE_COLUMNS, ["Promo2"])
    rows = Rows.parsed(
        table,
        {name: parse for name, (_, parse, _) in _STORE_FIELDS.items()},
        {name for name, (_, _, is_required) in _STORE_FIELDS.items() if not is_required},
    )
    rows.refuse_duplicates(["Store"], "the store appears twice, with different values")
    kept = rows.settle(skipped)
    frame = pd.DataFrame(index=pd.RangeIndex(int(kept.sum())))
    for column, (name, _, _) in _STORE_FIELDS.items():
        frame[name] = rows.series(column, kept)
    numbers = ["competition_open_since_month", "competition_open_since_year", "promo2",
               "promo2_since_week", "promo2_since_year"]  # fmt: skip
    frame = frame.astype(
        {
            "store": "int32",
            "competition_distance": "float64",
            **dict.fromkeys(numbers, "Int16"),
            **dict.fromkeys(("store_type", "assortment", "promo_interval"), "object"),
        }
    )
    frame["promo_interval"] = frame["promo_interval"].fillna("")
    return frame


def _require(folder: Path, name: str) -> Path:
    path = find(folder, name)
    if path is None:
        raise KaggleFilesError(
            f"{folder / name}: no such file (nor {name}.gz or .zip); it comes with Kaggle's "
            "rossmann-store-sales, or from `python -m local_stack sample-data`"
        )
    return path


def _day_rows(path: Path, columns: Sequence[str]) -> Rows:
    table: TextTable = read_text_table(path, columns, _SELF_DELIMITING)
    is_plan = fields.SALES not in columns
    rows = Rows.parsed(
        table,
        {name: _DAY_FIELDS[name] for name in columns},
        {fields.OPEN} if is_plan else frozenset(),
    )
    days = rows.values[fields.DATE].astype("datetime64[D]")
    # 1970-01-01 was a Thursday.
    weekday = (days.astype(np.int64) + 3) % 7 + 1
    rows.refuse(
        weekday != rows.values[fields.DAY_OF_WEEK],
        lambda row: f"DayOfWeek contradicts Date {days[row]}, which has {weekday[row]}",
    )
    return rows


def _refuse_later(rows: Rows, days_ahead: int, what: str) -> None:
    last = np.datetime64(datetime.now(UTC).date() + timedelta(days=days_ahead))
    days = rows.values[fields.DATE].astype("datetime64[D]")
    rows.refuse(days > last, lambda row: f"Date is {days[row]}; {what}")


def _settle_days(
    rows: Rows,
    stores: Collection[int] | None,
    skipped: list[BadRow] | None,
    columns: Sequence[str],
) -> pd.DataFrame:
    store = rows.values[fields.STORE]
    if stores is not None:
        rows.refuse(
            ~np.isin(store, np.array(list(stores), np.int64)),
            lambda row: f"Store {store[row]} is not in store.csv",
        )
    rows.refuse_duplicates(
        [fields.STORE, fields.DATE], "the store's day appears twice, with different values"
    )
    kept = rows.settle(skipped)
    frame = pd.DataFrame(index=pd.RangeIndex(int(kept.sum())))
    for column in columns:
        frame[fields.COLUMNS.get(column, "id")] = rows.series(column, kept)
    types: dict[str, str] = {"store": "int32", "date": "datetime64[ns]", "state_holiday": "object"}
    types |= dict.fromkeys(("day_of_week", "promo", "school_holiday"), "int16")
    types["open"] = "Int16" if frame["open"].isna().any() else "int16"
    types |= dict.fromkeys(
        [name for name in ("sales", "customers") if name in frame.columns], "float64"
    )
    return frame.astype(types)
