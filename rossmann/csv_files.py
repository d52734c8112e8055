"""CSV files as columns of text, with the line of each row, however a program has written them.

Read without doubt: plain, `.gz` and `.zip`; a byte order mark; any line ends; commas, semicolons
or tabs between the fields; quoted fields; columns in any order, and columns that nobody asked for.
What the texts mean is in `kaggle.py`.
"""

from __future__ import annotations

import csv
import gzip
import io
import lzma
import struct
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv

SUFFIXES = ("", ".gz", ".zip")
_DELIMITERS = (",", ";", "\t")
_BYTE_ORDER_MARKS = {b"\xff\xfe": "UTF-16", b"\xfe\xff": "UTF-16"}
#: The header lies within the first letters of a file.
_HEADER_LETTERS = 65_536
#: How many names to list before truncating.
_LISTED_NAMES = 15
#: How many bad rows to list before truncating.
LISTED_BAD_ROWS = 100

#: What the readers of damaged archives raise, names and sizes in their directories included.
_DAMAGED = (
    EOFError,
    gzip.BadGzipFile,
    zlib.error,
    lzma.LZMAError,
    zipfile.BadZipFile,
    struct.error,
    ArithmeticError,
    LookupError,
    ValueError,
)


class KaggleFilesError(Exception):
    """A file is missing, truncated or invalid; the message names the file and line."""


@dataclass(frozen=True)
class BadRow:
    """A row that cannot be used.

    Attributes:
        path: The file.
        line: The row's first line, the header being line 1.
        reason: What is wrong with it.
    """

    path: Path
    line: int
    reason: str

    def __str__(self) -> str:
        """Return it as one line of text."""
        return f"{self.path} line {self.line}: {self.reason}"


def list_bad_rows(skipped: Sequence[BadRow]) -> Iterator[str]:
    """Yield a line for each row that was set aside; for a long list, how many more there are."""
    for row in skipped[:LISTED_BAD_ROWS]:
        yield f"set aside: {row}"
    if len(skipped) > LISTED_BAD_ROWS:
        yield f"… and {len(skipped) - LISTED_BAD_ROWS:,} more lines"


@dataclass
class TextTable:
    """The wanted columns of a file, as text.

    Attributes:
        path: The file.
        columns: Column name -> one text per row.
        lines: The line of each row.
        bad: Rows that do not have the header's number of fields; they are in no column.
    """

    path: Path
    columns: dict[str, pa.Array]
    lines: np.ndarray
    bad: list[BadRow] = field(default_factory=list)


def find(folder: Path, name: str) -> Path | None:
    """Return the path of a file in a folder, plain or packed; None if there is none.

    Raises:
        KaggleFilesError: The folder cannot be searched.
    """
    try:
        for suffix in SUFFIXES:
            if (folder / (name + suffix)).is_file():
                return folder / (name + suffix)
    except OSError as error:
        raise KaggleFilesError(f"{folder / name}: {error.strerror or error}") from error
    return None


def read_text_table(
    path: Path, wanted: Sequence[str], self_delimiting: Iterable[str] = ()
) -> TextTable:
    """Read the wanted columns of a CSV file.

    Args:
        path: The file.
        wanted: The names of the columns to read; upper and lower case are the same.
        self_delimiting: Columns whose values show whether their end was cut off.

    Raises:
        KaggleFilesError: The file cannot be read, is cut off, is no CSV or lacks a column.
    """
    text = _decoded(path, _contents(path))
    beginning = text[:_HEADER_LETTERS]
    delimiter = max(_DELIMITERS, key=lambda one: _count_known(beginning, one, wanted))
    header = _fields(beginning, delimiter)
    places = _places(path, header, wanted)
    _refuse_cut_off(path, text, header, {places[name] for name in self_delimiting}, delimiter)
    table = _read_fast(path, text, delimiter, len(header), places)
    return table or _read_exactly(path, text, delimiter, len(header), places)


def _contents(path: Path) -> bytes:
    try:
        if path.suffix == ".zip":
            return _only_member(path)
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            return file.read()
    except _DAMAGED as error:
        raise KaggleFilesError(
            f"{path}: cut off or damaged ({error}); download it again"
        ) from error
    except (RuntimeError, NotImplementedError) as error:
        raise KaggleFilesError(
            f"{path}: cannot be unpacked ({error}); unpack it yourself"
        ) from error
    except OSError as error:
        raise KaggleFilesError(f"{path}: {error.strerror or error}") from error


def _only_member(path: Path) -> bytes:
    with zipfile.ZipFile(path) as package:
        names = [name for name in package.namelist() if not name.endswith("/")]
        matching = [name for name in names if Path(name).name == path.stem]
        if len(matching) != 1:
            raise KaggleFilesError(
                f"{path}: contains {', '.join(names[:_LISTED_NAMES]) or 'nothing'}, "
                f"and not one {path.stem}; unpack it yourself"
            )
        return package.read(matching[0])


def _decoded(path: Path, data: bytes) -> str:
    if data[:2] in _BYTE_ORDER_MARKS:
        raise KaggleFilesError(
            f"{path}: encoded in {_BYTE_ORDER_MARKS[data[:2]]}; save it as CSV in UTF-8"
        )
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise KaggleFilesError(
            f"{path} line {line}: the byte 0x{data[error.start]:02x} is not UTF-8; save it as CSV "
            "in UTF-8"
        ) from error
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise KaggleFilesError(f"{path} line {line}: a NUL byte; download it again")
    if not text.strip():
        raise KaggleFilesError(f"{path}: empty; download it again")
    return text


def _fields(text: str, delimiter: str) -> list[str]:
    """Return the fields of a text's first row."""
    lines = io.StringIO(text, newline="")
    try:
        return [name.strip() for name in next(csv.reader(lines, delimiter=delimiter), [])]
    except csv.Error:
        return [text.splitlines()[0]]


def _count_known(text: str, delimiter: str, wanted: Sequence[str]) -> int:
    names = {name.casefold() for name in _fields(text, delimiter)}
    return sum(name.casefold() in names for name in wanted)


def _places(path: Path, header: list[str], wanted: Sequence[str]) -> dict[str, int]:
    """Return where each wanted column is.

    Raises:
        KaggleFilesError: One is missing, or there are two of it.
    """
    places, missing = {}, []
    for name in wanted:
        same = [index for index, column in enumerate(header) if column == name] or [
            index for index, column in enumerate(header) if column.casefold() == name.casefold()
        ]
        if len(same) > 1:
            raise KaggleFilesError(
                f"{path} line 1: the column {name} appears {len(same)} times; remove all but one"
            )
        if same:
            places[name] = same[0]
        else:
            missing.append(name)
    if missing:
        surplus = [name for name in header if name.casefold() not in {w.casefold() for w in wanted}]
        shown = ", ".join(repr(name) for name in surplus[:_LISTED_NAMES])
        raise KaggleFilesError(
            f"{path} line 1: the column{'s' * (len(missing) > 1)} {', '.join(missing)} "
            f"{'are' if len(missing) > 1 else 'is'} missing"
            + (f"; not needed are {shown:.400}" if surplus else "")
        )
    return places


def _refuse_cut_off(
    path: Path, text: str, header: list[str], self_delimiting: set[int], delimiter: str
) -> None:
    """Refuse a last line that may have lost its end.

    Without a line end, the last value may have lost digits. It has not where it is quoted, or in a
    column where a part of a value is no value, or in one that is not read.
    """
    if text.endswith(("\n", "\r")):
        return
    last = text[max(text.rfind("\n"), text.rfind("\r")) + 1 :]
    fields = _fields(last, delimiter)
    ends_well = last.endswith('"') or len(header) - 1 in self_delimiting
    if len(fields) != len(header) or not ends_well or not fields[-1]:
        line = len(text.splitlines())
        raise KaggleFilesError(
            f"{path} line {line}: cut off, the last line has no end; download it again, or add a "
            "line end if it is whole"
        )


def _read_fast(
    path: Path, text: str, delimiter: str, width: int, places: dict[str, int]
) -> TextTable | None:
    """Read a file that has one row in each line; return None for any other."""
    data = text.encode()
    names = [str(index) for index in range(width)]
    wanted = [str(index) for index in places.values()]
    try:
        table = pa_csv.read_csv(
            io.BytesIO(data),
            read_options=pa_csv.ReadOptions(column_names=names, skip_rows=1),
            parse_options=pa_csv.ParseOptions(delimiter=delimiter, ignore_empty_lines=False),
            convert_options=pa_csv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.string()),
                strings_can_be_null=False,
                include_columns=wanted,
            ),
        )
    except pa.ArrowInvalid:
        return None
    newlines = data.count(b"\n")
    returns = data.count(b"\r")
    if returns not in (0, newlines if data.count(b"\r\n") == newlines else -1):
        return None
    if table.num_rows != newlines - (1 if data.endswith(b"\n") else 0):
        return None
    columns = {name: table[str(index)].combine_chunks() for name, index in places.items()}
    return TextTable(path, columns, np.arange(2, table.num_rows + 2))


def _read_exactly(
    path: Path, text: str, delimiter: str, width: int, places: dict[str, int]
) -> TextTable:
    """Read a file row by row: blank lines, quoted line ends, rows of another width."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    next(reader)
    values: dict[str, list[str]] = {name: [] for name in places}
    lines: list[int] = []
    bad: list[BadRow] = []
    while True:
        line = reader.line_num + 1
        try:
            row = next(reader)
        except StopIteration:
            break
        except csv.Error as error:
            if "unexpected end" in str(error) or "field larger" in str(error):
                raise KaggleFilesError(
                    f"{path} line {line}: a quoted field is never closed; add the quote"
                ) from error
            bad.append(BadRow(path, line, f"not CSV ({error})"))
            continue
        if not any(value.strip() for value in row):
            continue
        if len(row) != width:
            bad.append(BadRow(path, line, f"{len(row)} fields instead of {width}"))
            continue
        lines.append(line)
        for name, index in places.items():
            values[name].append(row[index])
    columns = {name: pa.array(column, pa.string()) for name, column in values.items()}
    return TextTable(path, columns, np.array(lines, np.int64), bad)
