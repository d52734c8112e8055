"""From Kafka's rows to typed sales rows with a verdict each: a pure function of Arrow tables.

Two ways lead to the same verdict. An event written as this project's producer (or Python's
`json.dumps`) writes it is recognised by one regular expression, which proves its syntax and takes
it apart for a whole batch at a time. What is not recognised, or not good, is judged one by one in
plain Python (`strict`). The tests hold both ways against another parser.

`sales.stores` is not known here: the sink judges the store inside its transaction.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from streaming_job import strict

OPEN_CALENDAR_DAYS = 366
"""With no end of the calendar given, days up to this many ahead of today are inside."""

COLUMN_TYPES = {
    "store": pa.int32(),
    "day_of_week": pa.int16(),
    "date": pa.date32(),
    "sales": pa.int32(),
    "customers": pa.int32(),
    "open": pa.int16(),
    "promo": pa.int16(),
    "state_holiday": pa.string(),
    "school_holiday": pa.int16(),
}
"""The columns of an event, typed as `sales.raw_sales` has them."""

VALIDATED = pa.schema(
    [
        ("topic_partition", pa.int32()),
        ("kafka_offset", pa.int64()),
        ("event_time", pa.timestamp("us", tz="UTC")),
        *COLUMN_TYPES.items(),
        ("reason", pa.string()),
        ("detail", pa.string()),
        ("key", pa.binary()),
        ("value", pa.binary()),
    ]
)
"""What `validate` returns: an event's place, its columns if it is good, else reason and detail."""

# Every number here has at most nine digits, so that none leaves the range of its column.
_NUMBER = "(?:0|[1-9][0-9]{0,8})"
_SHAPE = (
    r'^\{"Store": ?(?P<store>[1-9][0-9]{0,8}), ?"DayOfWeek": ?(?P<day_of_week>[1-7])'
    r', ?"Date": ?"(?P<date>[1-9][0-9]{3}-[0-9]{2}-[0-9]{2})"'
    rf'(?:, ?"Sales": ?(?P<sales>{_NUMBER}), ?"Customers": ?(?P<customers>{_NUMBER}))?'
    r'(?:, ?"Open": ?(?P<open>[01]))?, ?"Promo": ?(?P<promo>[01])'
    r', ?"StateHoliday": ?(?:"(?P<state_holiday>[0abc])"|0)'
    r', ?"SchoolHoliday": ?(?P<school_holiday>[01])\}$'
)
"""Events of this shape are right in syntax, types and ranges; their meaning is still to be judged.

Fields in the dataset's order, a blank or none after `:` and `,`. Sales and Customers may be absent
together, and Open.
"""


@dataclass(frozen=True)
class Calendar:
    """The days that events may carry, both ends inside; `end` None is open-ended."""

    start: date
    end: date | None

    def bounds(self) -> strict.DateRange:
        """Its days as they are today (UTC)."""
        ahead = datetime.now(UTC).date() + timedelta(days=OPEN_CALENDAR_DAYS)
        return strict.DateRange(self.start, self.end or ahead)


def validate(
    kafka: pa.RecordBatch | pa.Table, calendar: Calendar, *, use_regex: bool = True
) -> pa.Table:
    """Types and judges events.

    Args:
        kafka: Columns key, value (binary), partition, offset, timestamp of Spark's Kafka source.
        calendar: The days that are inside.
        use_regex: Off in tests that hold the two ways against each other.

    Returns:
        A table of `VALIDATED`, a row an event, in their order.
    """
    days = calendar.bounds()
    value = _column(kafka, "value").cast(pa.binary())
    if use_regex:
        columns = _recognised(value, days)
        is_good = columns.pop("is_good")
    else:
        columns = {name: pa.nulls(len(value), kind) for name, kind in COLUMN_TYPES.items()}
        is_good = pa.repeat(pa.scalar(False), len(value))
    columns |= {name: pa.nulls(len(value), pa.string()) for name in ("reason", "detail")}
    rest = pc.invert(is_good)
    left = value.filter(rest)
    if len(left):
        verdicts = _one_by_one(left, days)
        columns = {
            name: pc.replace_with_mask(column, rest, verdicts[name])
            for name, column in columns.items()
        }
    place = {
        "topic_partition": _column(kafka, "partition"),
        "kafka_offset": _column(kafka, "offset"),
        "event_time": _column(kafka, "timestamp"),
        "key": _column(kafka, "key"),
        "value": value,
    }
    return pa.table({**place, **columns}).select(VALIDATED.names).cast(VALIDATED)


def _column(table: pa.RecordBatch | pa.Table, name: str) -> pa.Array:
    column = table.column(name)
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column


def _recognised(value: pa.Array, days: strict.DateRange) -> dict[str, pa.Array]:
    """The typed columns of good events of `_SHAPE`, and which ones are: `is_good`."""
    found = pc.extract_regex(value, _SHAPE)
    parts = {name: found.field(index).cast(pa.string()) for index, name in enumerate(_names(found))}
    is_shaped = found.is_valid()

    def integers(name: str) -> pa.Array:
        text = parts[name]
        # A group that took no part in the match is empty.
        present = pc.and_(is_shaped, pc.greater(pc.binary_length(text), 0))
        return pc.if_else(present, text, pa.scalar(None, pa.string())).cast(COLUMN_TYPES[name])

    columns = {
        name: integers(name) for name in COLUMN_TYPES if name not in ("date", "state_holiday")
    }
    columns["date"] = _dates(parts["date"], days)
    columns["state_holiday"] = pc.if_else(
        pc.equal(pc.binary_length(parts["state_holiday"]), 0), "0", parts["state_holiday"]
    )
    weekday = pc.day_of_week(columns["date"], count_from_zero=False)
    sold_while_closed = pc.and_(pc.equal(columns["open"], 0), pc.greater(columns["sales"], 0))
    without_open = pc.and_(columns["sales"].is_valid(), columns["open"].is_null())
    is_good = pc.and_(
        pc.and_(is_shaped, pc.equal(weekday, columns["day_of_week"])),
        pc.invert(pc.or_(pc.fill_null(sold_while_closed, False), without_open)),
    )
    return {**columns, "is_good": pc.fill_null(is_good, False)}


def _names(found: pa.StructArray) -> list[str]:
    return [found.type.field(index).name for index in range(found.type.num_fields)]


def _dates(text: pa.Array, days: strict.DateRange) -> pa.Array:
    """The days inside the calendar; null for others."""
    coded = text.dictionary_encode()
    read = [_inside(written, days) for written in coded.dictionary.to_pylist()]
    return pa.array(read, pa.date32()).take(coded.indices)


def _inside(written: str, days: strict.DateRange) -> date | None:
    try:
        day = date.fromisoformat(written)
    except ValueError:
        return None
    return day if days.first <= day <= days.last else None


def _one_by_one(values: pa.Array, days: strict.DateRange) -> dict[str, pa.Array]:
    """The columns of events that `strict` judges: a row, or a reason and perhaps a detail."""
    rows: list[dict[str, Any]] = []
    for value in values.to_pylist():
        try:
            rows.append(strict.parse_event(value, days))
        except strict.InvalidEventError as error:
            rows.append({"reason": error.reason.value, "detail": error.detail or None})
    kinds = {**COLUMN_TYPES, "reason": pa.string(), "detail": pa.string()}
    return {name: pa.array([row.get(name) for row in rows], kind) for name, kind in kinds.items()}
