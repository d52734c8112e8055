"""Events as the producer writes them: rows and frames to the bytes of keys and values.

A number is written as it was given or refused; it is never rounded, cut or guessed. Sending is in
`producer`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd

from rossmann import fields
from rossmann.parsing import DAY, DOUBTFUL
from streaming_job.errors import RefusedError

#: Whole numbers below this one survive as a float, which pandas makes of a column with gaps.
EXACT_FLOATS = 2**53

_WHOLE = re.compile(r"(-?[0-9]{1,18})(?:\.0*)?", re.ASCII)


def encode(row: Mapping[str, Any]) -> tuple[bytes, bytes]:
    """Return the key and value of one event; a missing Sales, Customers or Open is left out.

    Raises:
        RefusedError: Another field is missing, or a value cannot be written unchanged.
    """
    event: dict[str, Any] = {}
    for field in fields.FIELDS:
        value = row.get(field)
        if _is_missing(value):
            if field in fields.OPTIONAL_ON_PLAN:
                continue
            raise RefusedError(f"a row has no {field}: {dict(row)!r:.200}")
        try:
            event[field] = _writer(field)(value)
        except ValueError as error:
            raise RefusedError(f"{field} {error}, in the row {dict(row)!r:.200}") from None
    text = json.dumps(event, separators=(",", ":"))
    return str(event[fields.STORE]).encode(), text.encode()


def encode_frame(frame: pd.DataFrame) -> Iterator[tuple[bytes, bytes]]:
    """Yield the keys and values of a frame's rows, as `encode` writes them.

    Raises:
        RefusedError: A column or value is missing, or a value cannot be written unchanged.
    """
    required = [field for field in fields.FIELDS if field not in fields.OPTIONAL_ON_PLAN]
    absent = [field for field in required if field not in frame.columns]
    if absent:
        raise RefusedError(
            f"the data has no column {', '.join(absent)}; it needs {', '.join(fields.FIELDS)}"
        )
    # Text by column, not by row: json.dumps for each row is slower than the broker.
    texts: list[list[str]] = []
    for index, field in enumerate(fields.FIELDS):
        lead = "{" if index == 0 else ","
        if field not in frame.columns:
            texts.append([""] * len(frame))
        else:
            texts.append(_column_texts(frame, field, f'{lead}"{field}":'))
    stores = [text.split(":")[1] for text in texts[0]]
    for store, *parts in zip(stores, *texts, strict=True):
        yield store.encode(), ("".join(parts) + "}").encode()


def _column_texts(frame: pd.DataFrame, field: str, lead: str) -> list[str]:
    write, is_optional = _writer(field), field in fields.OPTIONAL_ON_PLAN
    # A column holds few different days and codes, and many different sales.
    known: dict[Any, str] = {}
    texts = []
    for number, value in enumerate(frame[field].tolist()):
        text = known.get(value)
        if text is None:
            if _is_missing(value):
                if not is_optional:
                    raise RefusedError(f"row {frame.index[number]} has no {field}")
                texts.append("")
                continue
            try:
                text = lead + json.dumps(write(value))
            except ValueError as error:
                raise RefusedError(f"row {frame.index[number]}: {field} {error}") from None
            known[value] = text
        texts.append(text)
    return texts


def whole_number(value: Any) -> int:
    """Return a value as the whole number that it is.

    Raises:
        ValueError: It is not one, or nobody can tell which.
    """
    if isinstance(value, int | np.integer | np.bool_):
        return int(value)
    if isinstance(value, float | np.floating):
        number = float(value)
        if not number.is_integer():
            raise ValueError(f"is {number}; whole units expected. Round it")
        if abs(number) >= EXACT_FLOATS:
            raise ValueError(f"is {number}, too large for a float to hold exactly")
        return int(number)
    if isinstance(value, Decimal) and value.is_finite() and value == value.to_integral_value():
        return int(value)
    match = _WHOLE.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None or DOUBTFUL.fullmatch(match[0]):
        raise ValueError(f"is {value!s:.40}; whole units without separators expected")
    return int(match[1])


def _day(value: Any) -> str:
    """Return a day as YYYY-MM-DD.

    Raises:
        ValueError: The value is not a day, or has a time of day that would be cut off.
    """
    if isinstance(value, date) and not isinstance(value, datetime):
        return value.isoformat()
    match = DAY.fullmatch(str(value).strip())
    if match is None:
        raise ValueError(f"is {value!s:.40}; a day written YYYY-MM-DD expected")
    return match[1]


def _code(value: Any) -> str:
    """Return a code of StateHoliday; pandas makes 0.0 of a 0 in a column with gaps."""
    return str(whole_number(value)) if isinstance(value, float | np.floating) else str(value)


def _writer(field: str) -> Callable[[Any], int | str]:
    return {fields.DATE: _day, fields.STATE_HOLIDAY: _code}.get(field, whole_number)


def _is_missing(value: Any) -> bool:
    return value is None or value is pd.NA or value is pd.NaT or value != value  # noqa: PLR0124
