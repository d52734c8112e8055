"""Kaggle's Rossmann files (`train.csv`, `test.csv`, `store.csv`, plain or .gz) as frames.

A reader accepts a file as a whole or raises an error that names the file, the line and the value.
Loading into PostgreSQL is in `warehouse/loading.py`.
"""

import gzip
import zlib
from pathlib import Path

import pandas as pd

from rossmann import fields

TRAIN_COLUMNS = list(fields.FIELDS)
TEST_COLUMNS = [
    "Id", "Store", "DayOfWeek", "Date", "Open", "Promo", "StateHoliday", "SchoolHoliday",
]  # fmt: skip
STORE_COLUMNS = [
    "Store", "StoreType", "Assortment", "CompetitionDistance", "CompetitionOpenSinceMonth",
    "CompetitionOpenSinceYear", "Promo2", "Promo2SinceWeek", "Promo2SinceYear", "PromoInterval",
]  # fmt: skip


class KaggleFilesError(Exception):
    """A file is missing, truncated or invalid; the message names the file and line."""


def find(folder: Path, name: str) -> Path:
    """Return the path of `name` in a folder, plain or with .gz.

    Raises:
        KaggleFilesError: Neither exists.
    """
    for candidate in (folder / name, folder / f"{name}.gz"):
        if candidate.is_file():
            return candidate
    raise KaggleFilesError(
        f"{folder / name}: no such file (nor {name}.gz); it comes with Kaggle's "
        "rossmann-store-sales, or from `python -m local_stack sample-data`"
    )


def read_train(folder: Path) -> pd.DataFrame:
    """Read train.csv.

    Returns:
        One row per store and date, in the file's order: store, day_of_week, date, sales,
        customers, open, promo, state_holiday, school_holiday.

    Raises:
        KaggleFilesError: The file is missing or truncated, or a row is impossible.
    """
    path = find(folder, "train.csv")
    frame = _days(path, TRAIN_COLUMNS)
    _refuse(path, frame["sales"].lt(0) | frame["customers"].lt(0), frame, "sales below zero")
    _refuse(
        path, frame["open"].eq(0) & frame["sales"].gt(0), frame, "sales on a day that is closed"
    )
    return frame


def read_test(folder: Path) -> pd.DataFrame:
    """Read test.csv: planned days with Kaggle's `id` and without sales; `open` may be missing.

    Raises:
        KaggleFilesError: The file is missing or truncated, or a row is impossible.
    """
    return _days(find(folder, "test.csv"), TEST_COLUMNS).rename(columns={"Id": "id"})


def read_stores(folder: Path) -> pd.DataFrame:
    """Read store.csv, with the column names of the table `stores`.

    Raises:
        KaggleFilesError: The file is missing or truncated, or a store's id is invalid.
    """
    path = find(folder, "store.csv")
    text = _read(path, STORE_COLUMNS, dict.fromkeys(STORE_COLUMNS, str))
    ids = text["Store"].fillna("")
    # A partition key: Dagster silently drops keys with "|", and the stream's stores are integers.
    _refuse(path, ~ids.str.fullmatch(r"[1-9][0-9]{0,8}"), text, "Store is not a positive integer")
    _refuse(path, ids.duplicated(), text, "Store appears twice")
    frame = pd.DataFrame({"store": ids.astype("int32")})
    frame["store_type"] = text["StoreType"]
    frame["assortment"] = text["Assortment"]
    try:
        frame["competition_distance"] = text["CompetitionDistance"].astype("float64")
        for name, column in {
            "competition_open_since_month": "CompetitionOpenSinceMonth",
            "competition_open_since_year": "CompetitionOpenSinceYear",
            "promo2": "Promo2",
            "promo2_since_week": "Promo2SinceWeek",
            "promo2_since_year": "Promo2SinceYear",
        }.items():
            frame[name] = text[column].astype("float64").astype("Int16")
    except (ValueError, TypeError) as error:
        raise KaggleFilesError(f"{path}: not a number: {error}") from error
    frame["promo_interval"] = text["PromoInterval"].fillna("")
    _refuse(
        path,
        frame[["store_type", "assortment", "promo2"]].isna().any(axis=1),
        text,
        "StoreType, Assortment or Promo2 is missing",
    )
    return frame


def _days(path: Path, columns: list[str]) -> pd.DataFrame:
    types: dict[str, type | str] = dict.fromkeys(columns, "float64")
    types |= {"Date": str, "StateHoliday": str}
    raw = _read(path, columns, types)
    required = [name for name in columns if not ("Id" in columns and name == "Open")]
    _refuse(path, raw[required].isna().any(axis=1), raw, "a field is missing")
    frame = raw.rename(columns=fields.COLUMNS)
    frame["date"] = pd.to_datetime(frame["date"], format="%Y-%m-%d", errors="coerce")
    _refuse(path, frame["date"].isna(), raw, "Date is not a day of the form 2015-06-19")
    _refuse(
        path,
        frame["day_of_week"] != frame["date"].dt.dayofweek + 1,
        raw,
        "DayOfWeek contradicts Date",
    )
    _refuse(
        path,
        ~frame["state_holiday"].isin(fields.STATE_HOLIDAY_CODES),
        raw,
        "StateHoliday is unknown",
    )
    for name in ("open", "promo", "school_holiday"):
        _refuse(path, ~frame[name].isin([0, 1]) & frame[name].notna(), raw, f"{name} is not 0 or 1")
    whole = frame["store"].mod(1).eq(0) & frame["store"].between(1, 999_999_999)
    _refuse(path, ~whole, raw, "Store is not a positive integer")
    _refuse(path, frame.duplicated(["store", "date"]), raw, "a store's day appears twice")
    frame["store"] = frame["store"].astype("int32")
    for name in ("day_of_week", "promo", "school_holiday"):
        frame[name] = frame[name].astype("int16")
    frame["open"] = frame["open"].astype("Int16" if frame["open"].isna().any() else "int16")
    return frame


def _read(path: Path, columns: list[str], types: dict[str, type | str]) -> pd.DataFrame:
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            data = file.read()
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise KaggleFilesError(
            f"{path}: cut off or damaged ({error}); download it again"
        ) from error
    except OSError as error:
        raise KaggleFilesError(f"{path}: {error.strerror or error}") from error
    if not data.strip():
        raise KaggleFilesError(f"{path}: empty; download it again")
    if not data.endswith(b"\n"):
        # Kaggle's own files end in a newline: without it the last row may have lost digits.
        raise KaggleFilesError(f"{path}: cut off in its last line; download it again")
    header = data.split(b"\n", 1)[0].decode("utf-8", "replace")
    header_columns = [name.strip('"\r') for name in header.split(",")]
    if header_columns != columns:
        raise KaggleFilesError(
            f"{path}: the columns are {', '.join(header_columns)}; expected {', '.join(columns)}"
        )
    from io import BytesIO

    try:
        return pd.read_csv(BytesIO(data), dtype=types, encoding="utf-8")
    except (ValueError, UnicodeDecodeError) as error:
        raise KaggleFilesError(f"{path}: {_first_bad_row(data, columns, types, error)}") from error


def _first_bad_row(
    data: bytes, columns: list[str], types: dict[str, type | str], error: Exception
) -> str:
    numeric = [index for index, name in enumerate(columns) if types[name] == "float64"]
    for number, line in enumerate(data.decode("utf-8", "replace").splitlines()[1:], start=2):
        values = [field.strip('"') for field in line.split(",")]
        if len(values) != len(columns):
            return f"line {number} has {len(values)} fields instead of {len(columns)}"
        for index in numeric:
            try:
                float(values[index] or "nan")
            except ValueError:
                return f"line {number}: {columns[index]} is {values[index]!r}, not a number"
    return str(error)


def _refuse(path: Path, bad: pd.Series, rows: pd.DataFrame, why: str) -> None:
    if bad.any():
        first = int(bad.to_numpy().argmax())
        shown = ", ".join(f"{name}={value}" for name, value in rows.iloc[first].items())
        raise KaggleFilesError(
            f"{path}: line {first + 2}: {why} ({shown}); {int(bad.sum())} such lines"
        )
