"""Keyset pages: a cursor that holds the last key of a page, and nothing else."""

import base64
import binascii
import json
import re
from datetime import date
from typing import Annotated, Any

from fastapi import Query
from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints
from pydantic_core import PydanticCustomError

from forecast_service.problems import ServiceError, invalid

MAX_STORE = 2**31 - 1
#: First and last day that a request may name; the calendar's days lie well inside.
FIRST_DAY, LAST_DAY = date(1990, 1, 1), date(2199, 12, 31)
PAGE_ROWS = 1_000
MAX_PAGE_ROWS = 10_000
#: Most stores that one request may name.
MAX_STORES = 2_000
#: Most rows of a file: the whole chain of the data set over its whole history, with room.
MAX_FILE_ROWS = 2_000_000
_LONGEST_CURSOR = 200
_ISO_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


def _iso_day(value: Any) -> Any:
    """Refuse what pydantic would take for a day besides `2015-06-19`: numbers, times."""
    if isinstance(value, date):
        return value
    if not isinstance(value, str) or not _ISO_DAY.fullmatch(value):
        raise ValueError("a day like 2015-06-19 is expected")
    return value


def _in_reach(value: date) -> date:
    """Refuse days on which arithmetic with horizons would leave the calendar."""
    if not FIRST_DAY <= value <= LAST_DAY:
        bounds = {"ge": str(FIRST_DAY), "le": str(LAST_DAY)}
        raise PydanticCustomError("day_out_of_reach", "must lie from {ge} to {le}", bounds)
    return value


def _distinct(stores: list[int]) -> list[int]:
    return sorted(set(stores))


Store = Annotated[int, Field(ge=1, le=MAX_STORE, description="A store's number.")]
Day = Annotated[
    date,
    BeforeValidator(_iso_day),
    AfterValidator(_in_reach),
    Field(description="A day like 2015-06-19."),
]
Stores = Annotated[
    list[Store],
    Query(
        alias="store",
        max_length=MAX_STORES,
        description="A store's number; may be given again. By default all stores.",
    ),
    AfterValidator(_distinct),
]
Limit = Annotated[
    int, Query(ge=1, le=MAX_PAGE_ROWS, description="Most rows of a page (JSON only).")
]
Cursor = Annotated[
    str | None,
    Query(
        max_length=_LONGEST_CURSOR,
        pattern=r"^[A-Za-z0-9_-]+$",
        description="`next` of the page before.",
    ),
]
#: Text that PostgreSQL can store: it has no place for NUL.
Line = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=100,
                           pattern=r"^[^\x00-\x1f\x7f]+$")
]  # fmt: skip
Text = Annotated[str, StringConstraints(max_length=1000, pattern=r"^[^\x00]*$")]


def encode_cursor(store: int, day: date | None = None) -> str:
    """Return the cursor of a page that ended with a store, or with a store's day."""
    return encode_key(store) if day is None else encode_key(store, day)


def encode_key(*key: int | str | date) -> str:
    """Return the cursor of a page that ended with a key."""
    parts = [part.isoformat() if isinstance(part, date) else part for part in key]
    return base64.urlsafe_b64encode(json.dumps(parts).encode()).decode().rstrip("=")


def decode_store(cursor: str | None) -> int:
    """Return the store after which a page begins.

    Raises:
        ServiceError: The cursor is not one of a page of stores.
    """
    if cursor is None:
        return 0
    match _decoded(cursor):
        case [int(store)] if 0 <= store <= MAX_STORE:
            return store
    raise _foreign()


def decode_day(cursor: str | None) -> tuple[int, date]:
    """Return the store and day after which a page begins.

    Raises:
        ServiceError: The cursor is not one of a page of days.
    """
    if cursor is None:
        return 0, FIRST_DAY
    match _decoded(cursor):
        case [int(store), str(text)] if 0 <= store <= MAX_STORE:
            try:
                return store, date.fromisoformat(text)
            except ValueError:
                raise _foreign() from None
    raise _foreign()


def decode_member(cursor: str | None) -> tuple[str, date]:
    """Return the member and first day after which a page of totals begins.

    Raises:
        ServiceError: The cursor is not one of a page of totals.
    """
    if cursor is None:
        return "", FIRST_DAY
    match _decoded(cursor):
        case [str(member), str(text)] if member and "\x00" not in member:
            try:
                return member, date.fromisoformat(text)
            except ValueError:
                raise _foreign() from None
    raise _foreign()


def decode_rank(cursor: str | None) -> int:
    """Return the rank after which a page of a ranking begins.

    Raises:
        ServiceError: The cursor is not one of a ranking.
    """
    return decode_store(cursor)


def refuse_too_many(rows: int) -> None:
    """Raise if a file would hold more rows than one may."""
    if rows > MAX_FILE_ROWS:
        raise ServiceError(422, f"more than {MAX_FILE_ROWS:,} rows: ask for fewer stores or days")


def _decoded(cursor: str) -> Any:
    try:
        return json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except (binascii.Error, ValueError, RecursionError):
        raise _foreign() from None


def _foreign() -> Exception:
    return invalid("query.cursor", "is no `next` of a page; leave it out to begin again")
