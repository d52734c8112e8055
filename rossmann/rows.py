"""Rows of a file while they are judged: parsed values, and what is wrong with which row."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from rossmann.csv_files import BadRow, KaggleFilesError, TextTable
from rossmann.parsing import MISSING, Parse

#: What is wrong with a row, or how to say it of the row at a position.
Reason = str | Callable[[int], str]

#: Longest value in a message; a longer one is cut.
_SHOWN_LETTERS = 40


class Rows:
    """The rows of one file.

    Attributes:
        values: Column -> array of parsed values. A bad or missing one is a placeholder.
        missing: Column -> mask of the rows that have no value.
    """

    def __init__(self, path: Path, lines: np.ndarray, bad: Sequence[BadRow] = ()) -> None:
        """Start with rows that have no columns yet.

        Args:
            path: The file.
            lines: The line of each row.
            bad: Rows that could not even be split into fields.
        """
        self._path, self._lines = path, lines
        self._unreadable = list(bad)
        self._is_bad = np.zeros(len(lines), bool)
        self._faults: list[tuple[np.ndarray, Reason]] = []
        self.values: dict[str, np.ndarray] = {}
        self.missing: dict[str, np.ndarray] = {}

    @classmethod
    def empty(cls, path: Path, columns: Sequence[str]) -> Self:
        """Return no rows, of a file that does not exist."""
        rows = cls(path, np.zeros(0, np.int64))
        for name in columns:
            rows.values[name] = np.zeros(0, "datetime64[D]" if name == "Date" else np.int64)
            rows.missing[name] = np.zeros(0, bool)
        return rows

    @classmethod
    def parsed(
        cls, table: TextTable, parsers: Mapping[str, Parse], optional: Collection[str]
    ) -> Self:
        """Parse the columns of a table.

        Args:
            table: The file's texts.
            parsers: Column -> how to read it.
            optional: Columns that may have no value.
        """
        texts = {name: table.columns[name] for name in parsers}
        has_any = np.zeros(len(table.lines), bool)
        for column in texts.values():
            has_any |= np.asarray(pc.greater(pc.utf8_length(column), 0))
        if not has_any.all():
            # A row of delimiters alone, as spreadsheets add them, says nothing.
            texts = {name: column.filter(pa.array(has_any)) for name, column in texts.items()}
        rows = cls(table.path, table.lines[has_any], table.bad)
        for name, column in texts.items():
            rows._parse(name, column, parsers[name], name in optional)
        return rows

    def refuse(self, mask: np.ndarray, reason: Reason) -> None:
        """Mark rows as bad that were good so far.

        Args:
            mask: Which rows.
            reason: What is wrong, or a function of a row's position that says it.
        """
        fresh = mask & ~self._is_bad
        if fresh.any():
            self._faults.append((np.flatnonzero(fresh), reason))
            self._is_bad |= fresh

    def refuse_duplicates(self, key: Sequence[str], reason: str) -> None:
        """Drop repeated rows that are equal; mark those that differ as bad, each of them."""
        good = np.flatnonzero(~self._is_bad)
        frame = pd.DataFrame({name: self.values[name][good] for name in self.values})
        gaps = {f"{name} missing": self.missing[name][good] for name in self.missing}
        frame = frame.assign(**gaps)
        repeated = frame.duplicated(list(key), keep=False)
        if not repeated.any():
            return
        again = frame.duplicated(keep="first")
        several = frame[~again].duplicated(list(key), keep=False)
        differing = np.zeros(len(self._is_bad), bool)
        differing[good[several.index[several]]] = True
        equal = np.zeros(len(self._is_bad), bool)
        equal[good[again.to_numpy()]] = True
        self.refuse(differing, reason)
        self._is_bad |= equal

    def settle(self, skipped: list[BadRow] | None) -> np.ndarray:
        """Refuse the file, or set its bad rows aside.

        Args:
            skipped: Bad rows are appended to it. None refuses the file if there are any.

        Returns:
            The mask of the rows to keep.

        Raises:
            KaggleFilesError: There are bad rows, and they are not to be set aside.
        """
        bad = list(self._unreadable)
        for positions, reason in self._faults:
            bad += [
                BadRow(
                    self._path,
                    int(self._lines[position]),
                    reason if isinstance(reason, str) else reason(int(position)),
                )
                for position in positions
            ]
        bad.sort(key=lambda row: row.line)
        if bad and skipped is None:
            more = f"; {len(bad) - 1:,} other lines are bad, too" if len(bad) > 1 else ""
            raise KaggleFilesError(
                f"{bad[0]}{more}. Correct it, or set bad lines aside (--skip-bad)"
            )
        if skipped is not None:
            skipped.extend(bad)
        return ~self._is_bad

    def series(self, name: str, kept: np.ndarray) -> pd.Series:
        """Return a column of the kept rows; what is missing is NA."""
        values = self.values[name][kept]
        missing = self.missing[name][kept]
        if not missing.any():
            return pd.Series(values)
        if values.dtype == object:
            return pd.Series(np.where(missing, None, values), dtype=object)
        if values.dtype.kind == "i":
            return pd.Series(values).astype("Int64").mask(missing)
        return pd.Series(values).astype("float64").mask(missing)

    def _parse(self, name: str, column: pa.Array, parse: Parse, is_optional: bool) -> None:
        # Values repeat: each different text is parsed once.
        encoded = column.dictionary_encode()
        texts = encoded.dictionary.to_pylist()
        codes = encoded.indices.to_numpy(zero_copy_only=False)
        values: list[Any] = []
        reasons: dict[int, str] = {}
        absent = np.zeros(len(texts), bool)
        for index, text in enumerate(texts):
            stripped = text.strip()
            value = None
            if stripped in MISSING:
                absent[index] = True
                if not is_optional:
                    reasons[index] = f"{name} is missing"
            else:
                try:
                    value = parse(stripped)
                except ValueError as error:
                    reasons[index] = f"{name} is {_shown(stripped)}; {error}"
            values.append(value)
        kind = next((type(value) for value in values if value is not None), int)
        array = _array(values, kind)
        self.values[name] = array[codes] if len(texts) else array
        self.missing[name] = absent[codes] if len(texts) else np.zeros(0, bool)
        if reasons:
            self.refuse(np.isin(codes, list(reasons)), lambda row: reasons[int(codes[row])])


def _array(values: list[Any], kind: type) -> np.ndarray:
    if kind is int:
        return np.array([value or 0 for value in values], np.int64)
    if kind is float:
        return np.array([value or 0.0 for value in values], np.float64)
    if kind is str:
        return np.array([value or "" for value in values], object)
    return np.array([value or "1970-01-01" for value in values], "datetime64[D]")


def _shown(text: str) -> str:
    cut = text if len(text) <= _SHOWN_LETTERS else text[:_SHOWN_LETTERS] + "…"
    return repr(cut) if not cut.isascii() or not cut.isprintable() or " " in cut else cut
