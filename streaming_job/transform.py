"""Validation of a batch: Kafka's rows to typed sales rows with a reason each, in Arrow tables.

Two paths lead to the same result. One regular expression matches events as this project's
producer (or Python's `json.dumps`) writes them. It proves their syntax and splits a whole batch at
once. An event that it does not match, or that is not valid, goes through `strict` one by one. The
tests compare both paths with another parser.

This module does not know `sales.stores`: the sink checks the store inside its transaction.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from rossmann import event_times
from streaming_job import strict

#: Days after today that events may carry if the calendar has no end.
OPEN_CALENDAR_DAYS = 366

#: The columns of an event, typed as in `sales.raw_sales`.
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

#: What `validate` returns: an event's position, its columns if it is valid, or else the reason
#: and detail, and its bytes.
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

# Every number here has at most nine digits, so that none leaves the range of its column.
_NUMBER = "(?:0|[1-9][0-9]{0,8})"
# Events that match are right in syntax, types and ranges; only their meaning is left to check.
# Fields in the data set's order, one blank or none after `:` and `,`. Sales and Customers may be
# absent together, and so may Open.
_EVENT = (
    r'^\{"Store": ?(?P<store>[1-9][0-9]{0,8}), ?"DayOfWeek": ?(?P<day_of_week>[1-7])'
    r', ?"Date": ?"(?P<date>[1-9][0-9]{3}-[0-9]{2}-[0-9]{2})"'
    rf'(?:, ?"Sales": ?(?P<sales>{_NUMBER}), ?"Customers": ?(?P<customers>{_NUMBER}))?'
    r'(?:, ?"Open": ?(?P<open>[01]))?, ?"Promo": ?(?P<promo>[01])'
    r', ?"StateHoliday": ?(?:"(?P<state_holiday>[0abc])"|0)'
    r', ?"SchoolHoliday": ?(?P<school_holiday>[01])\}$'
)


@dataclass(frozen=True)
class Calendar:
    """The days that events may carry, both ends included; without an end it is open-ended."""

    start: date
    end: date | None

    def bounds(self, now: datetime | None = None) -> strict.Bounds:
        """Return the days and times that are possible now.

        Args:
            now: The clock; by default that of this machine.
        """
        now = now or datetime.now(UTC)
        last = self.end or now.date() + timedelta(days=OPEN_CALENDAR_DAYS)
        return strict.Bounds(self.start, last, event_times.possible_times(self.start, now))


def validate(
    kafka: pa.RecordBatch | pa.Table,
    calendar: Calendar,
    *,
    now: datetime | None = None,
    use_regex: bool = True,
) -> pa.Table:
    """Parse and validate events.

    Args:
        kafka: Columns key, value (binary), partition, offset, timestamp of Spark's Kafka source.
        calendar: The days that events may carry.
        now: The clock; by default that of this machine.
        use_regex: False in tests that compare the two paths.

    Returns:
        A table of `VALIDATED`, one row per event, in the same order.
    """
    return validate_within(kafka, calendar.bounds(now), use_regex=use_regex)


def validate_within(
    kafka: pa.RecordBatch | pa.Table, bounds: strict.Bounds, *, use_regex: bool = True
) -> pa.Table:
    """Parse and validate events within some days and times; otherwise as `validate`."""
    value = _column(kafka, "value").cast(pa.binary())
    sent = _column(kafka, "timestamp").cast(VALIDATED.field("event_time").type).cast(pa.int64())
    if use_regex:
        columns = _match(value, sent, bounds)
        is_valid = columns.pop("is_valid")
    else:
        columns = {name: pa.nulls(len(value), kind) for name, kind in COLUMN_TYPES.items()}
        is_valid = pa.repeat(pa.scalar(False), len(value))
    columns |= {name: pa.nulls(len(value), pa.string()) for name in ("reason", "detail")}
    is_left = pc.invert(is_valid)
    if pc.any(is_left).as_py():
        parsed = _parse_each(value.filter(is_left), sent.filter(is_left), bounds)
        columns = {
            name: pc.replace_with_mask(column, is_left, parsed[name])
            for name, column in columns.items()
        }
    position = {
        "topic_partition": _column(kafka, "partition"),
        "kafka_offset": _column(kafka, "offset"),
        "event_time": _storable(sent),
        "key": _column(kafka, "key"),
        "value": value,
    }
    return pa.table({**position, **columns}).select(VALIDATED.names).cast(VALIDATED)


def _storable(sent: pa.Array) -> pa.Array:
    """Return times as they are stored; those that no reader could read become the bound."""
    clamped = pc.min_element_wise(
        pc.max_element_wise(sent, event_times.FIRST_STORED), event_times.LAST_STORED
    )
    return clamped.cast(VALIDATED.field("event_time").type)


def _column(table: pa.RecordBatch | pa.Table, name: str) -> pa.Array:
    column = table.column(name)
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column


def _match(value: pa.Array, sent: pa.Array, bounds: strict.Bounds) -> dict[str, pa.Array]:
    """Return the typed columns of valid events that match `_EVENT`, and `is_valid`."""
    groups = pc.extract_regex(value, _EVENT)
    texts = {
        field.name: groups.field(index).cast(pa.string()) for index, field in enumerate(groups.type)
    }
    matches = groups.is_valid()

    def integers(name: str) -> pa.Array:
        text = texts[name]
        # An optional group that took no part in the match is empty.
        is_present = pc.and_(matches, pc.greater(pc.binary_length(text), 0))
        return pc.if_else(is_present, text, pa.scalar(None, pa.string())).cast(COLUMN_TYPES[name])

    columns = {
        name: integers(name) for name in COLUMN_TYPES if name not in ("date", "state_holiday")
    }
    columns["date"] = _dates(texts["date"], bounds)
    columns["state_holiday"] = pc.if_else(
        pc.equal(pc.binary_length(texts["state_holiday"]), 0), "0", texts["state_holiday"]
    )
    weekday = pc.day_of_week(columns["date"], count_from_zero=False)
    sold_while_closed = pc.and_(pc.equal(columns["open"], 0), pc.greater(columns["sales"], 0))
    lacks_open = pc.and_(columns["sales"].is_valid(), columns["open"].is_null())
    is_valid = pc.and_(
        pc.and_(matches, pc.equal(weekday, columns["day_of_week"])),
        pc.invert(pc.or_(pc.fill_null(sold_while_closed, False), lacks_open)),
    )
    is_valid = pc.and_(is_valid, _is_timely(columns["date"], columns["sales"], sent, bounds))
    return {**columns, "is_valid": pc.fill_null(is_valid, False)}


def _is_timely(day: pa.Array, sales: pa.Array, sent: pa.Array, bounds: strict.Bounds) -> pa.Array:
    """Return whether each event's time is possible and, if it has sales, not before their day."""
    is_possible = pc.and_(
        pc.greater_equal(sent, bounds.times.first), pc.less_equal(sent, bounds.times.last)
    )
    # Elsewhere the sums below could overflow.
    possible = pc.if_else(is_possible, sent, 0)
    latest = pc.add(possible, event_times.SALES_AHEAD_DAYS * event_times.DAY_MICROS)
    midnight = pc.multiply(day.cast(pa.int32()).cast(pa.int64()), event_times.DAY_MICROS)
    return pc.and_(is_possible, pc.or_(sales.is_null(), pc.less_equal(midnight, latest)))


def _dates(text: pa.Array, bounds: strict.Bounds) -> pa.Array:
    """Return the days inside the range; null for others."""
    encoded = text.dictionary_encode()
    dates = [_date_within(item, bounds) for item in encoded.dictionary.to_pylist()]
    return pa.array(dates, pa.date32()).take(encoded.indices)


def _date_within(text: str, bounds: strict.Bounds) -> date | None:
    try:
        day = date.fromisoformat(text)
    except ValueError:
        return None
    return day if bounds.first <= day <= bounds.last else None


def _parse_each(values: pa.Array, sent: pa.Array, bounds: strict.Bounds) -> dict[str, pa.Array]:
    """Return the columns of events that `strict` parses: a row, or a reason and a detail."""
    rows: list[dict[str, Any]] = []
    for value, sent_micros in zip(values.to_pylist(), sent.to_pylist(), strict=True):
        try:
            rows.append(strict.parse_event(value, sent_micros, bounds))
        except strict.InvalidEventError as error:
            rows.append({"reason": error.reason.value, "detail": error.detail or None})
    kinds = {**COLUMN_TYPES, "reason": pa.string(), "detail": pa.string()}
    return {name: pa.array([row.get(name) for row in rows], kind) for name, kind in kinds.items()}
