"""The deep comparison of events with rows, without a broker or a database."""

from types import SimpleNamespace
from typing import Any, cast

import pytest
from kafka.consumer.fetcher import ConsumerRecord

from streaming_job import comparison, strict, transform
from streaming_job.comparison import StoredRow
from tests.unit.streaming_job.test_transform import NOW_MS, event, plan

VALUES = [event(), event(Sales=-1), plan(), event(Store=4, Date="2015-06-13", DayOfWeek=6)]


def record(offset: int, value: bytes | None, sent_ms: int = NOW_MS) -> ConsumerRecord:
    fields = {"partition": 0, "offset": offset, "timestamp": sent_ms, "key": b"1", "value": value}
    return cast(ConsumerRecord, SimpleNamespace(**fields))


def row(offset: int, value: bytes, sent_ms: int = NOW_MS, **changes: Any) -> StoredRow:
    """Return what the sink stores of an event."""
    try:
        parsed = strict.parse_row(value)
    except strict.InvalidEventError as error:
        reason = error.reason.value
        columns: tuple[Any, ...] = (None,) * len(transform.COLUMN_TYPES)
        made = StoredRow(
            offset, "quarantined_events", sent_ms * 1_000, reason, b"1", value, columns
        )
    else:
        columns = tuple((parsed | changes)[name] for name in transform.COLUMN_TYPES)
        made = StoredRow(offset, "raw_sales", sent_ms * 1_000, None, None, None, columns)
    return made


def compared(records: list[ConsumerRecord], rows: list[StoredRow], end: int) -> list[str]:
    # Pages of one event each, then one that holds none: markers at the end.
    pages = [([item], item.offset + 1) for item in records]
    differences = comparison.compare("sales-0", [*pages, ([], end)], iter(rows))
    assert differences.compared == len(records)
    return list(differences.faults(is_compacted=False))


def test_equal_contents_differ_in_nothing() -> None:
    records = [record(offset, value) for offset, value in enumerate(VALUES)]
    rows = [row(offset, value) for offset, value in enumerate(VALUES)]
    assert compared(records, rows, 9) == []


@pytest.mark.parametrize(
    ("changes", "phrase"),
    [
        ({"sales": 5262}, "sales 5263 in Kafka, 5262 stored"),
        ({"customers": None}, "customers 555 in Kafka, None stored"),
        ({"store": 2, "promo": 0}, "store 1 in Kafka, 2 stored, promo 1 in Kafka, 0 stored"),
    ],
)
def test_a_changed_column_is_a_fault(changes: dict[str, Any], phrase: str) -> None:
    (fault,) = compared([record(0, event())], [row(0, event(), **changes)], 1)
    assert phrase in fault


def test_what_only_one_side_has_is_a_fault_unless_kafka_compacts() -> None:
    records = [record(0, event()), record(2, event())]
    rows = [row(0, event()), row(1, event()), row(5, event())]
    assert compared(records, rows, 4) == [
        "sales-0: 1 offsets are in Kafka and in no table: 2",
        "sales-0: 2 offsets are in the tables and not in Kafka: 1, 5",
    ]
    differences = comparison.compare("sales-0", [([records[0]], 4)], iter(rows[:2]))
    assert list(differences.faults(is_compacted=True)) == []
    assert differences.only_in_tables == [1]


def test_times_are_compared_as_they_are_stored() -> None:
    nano = NOW_MS * 1_000_000
    assert compared([record(0, event(), nano)], [row(0, event(), NOW_MS * 1_000)], 1) == []
    (fault,) = compared([record(0, event(), NOW_MS + 1)], [row(0, event())], 1)
    assert "stored with another time" in fault


def test_rows_of_earlier_rules_are_compared_by_their_columns() -> None:
    # Sales of a day that had not come, on a wrong weekday: stored before either was judged.
    odd = event(Date="2030-01-01", DayOfWeek=1)
    assert compared([record(0, odd)], [row(0, odd)], 1) == []
    withdrawn = StoredRow(
        0, "quarantined_events", NOW_MS * 1_000, "withdrawn", b"1", event() + b" ", ()
    )
    assert compared([record(0, event())], [withdrawn], 1) == []
    withdrawn.value = event(Sales=1)
    (fault,) = compared([record(0, event())], [withdrawn], 1)
    assert "withdrawn with other values" in fault
    removed = StoredRow(0, "removed_events", None, None, None, None, ())
    assert compared([record(0, event())], [removed], 1) == []
