"""Validation of events: every reason on both sides of its border."""

import json
import random
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from rossmann import fields
from streaming_job import reason_codes, strict, transform
from streaming_job.reason_codes import Reason
from tests.unit.streaming_job import mutations, oracle

FIRST, LAST = mutations.FIRST, mutations.LAST
CALENDAR = transform.Calendar(FIRST, LAST)
# By then every day of the calendar is over.
SENT = datetime(2016, 1, 1, tzinfo=UTC)
NOW = datetime(2015, 6, 13, tzinfo=UTC)
NOW_MS = int(NOW.timestamp() * 1_000)
GOOD = {
    "Store": 1,
    "DayOfWeek": 5,
    "Date": "2015-06-12",
    "Sales": 5263,
    "Customers": 555,
    "Open": 1,
    "Promo": 1,
    "StateHoliday": "0",
    "SchoolHoliday": 1,
}


def ms(*moment: int) -> int:
    return int(datetime(*moment, tzinfo=UTC).timestamp() * 1_000)  # type: ignore[arg-type, misc]


def validated(
    values: list[bytes | None],
    *,
    sent_ms: list[int] | None = None,
    now: datetime | None = None,
    calendar: transform.Calendar = CALENDAR,
    use_regex: bool = True,
) -> list[dict[str, Any]]:
    sent = [moment * 1_000 for moment in sent_ms or [ms(2016, 1, 1)] * len(values)]
    kafka = pa.table(
        {
            "key": pa.array([b"1"] * len(values), pa.binary()),
            "value": pa.array(values, pa.binary()),
            "partition": pa.array([0] * len(values), pa.int32()),
            "offset": pa.array(range(len(values)), pa.int64()),
            "timestamp": pa.array(sent, pa.timestamp("us", tz="UTC")),
        }
    )
    table = transform.validate(kafka, calendar, now=now, use_regex=use_regex)
    assert table.schema == transform.VALIDATED
    rows: list[dict[str, Any]] = table.to_pylist()
    return rows


def event(**changes: Any) -> bytes:
    changed = GOOD | changes
    return json.dumps({k: v for k, v in changed.items() if v is not ...}).encode()


def plan(**changes: Any) -> bytes:
    return event(Sales=..., Customers=..., **changes)


BORDERS: list[tuple[bytes | None, Reason | None]] = [
    (event(), None),
    (None, Reason.NULL_VALUE),
    (event(Sales=None), Reason.NULL_VALUE),
    (event(Comment=None), None),
    (b"", Reason.NOT_JSON),
    (event().ljust(reason_codes.MAX_VALUE_BYTES), None),
    (event().ljust(reason_codes.MAX_VALUE_BYTES + 1), Reason.OVERSIZED),
    (event(Comment="é").replace(b"\\u00e9", "é".encode()), None),
    (event(Comment="é").replace(b"\\u00e9", b"\xe9"), Reason.NOT_UTF8),
    (event().replace(b"5263", b"NaN"), Reason.NAN),
    (event().replace(b"5263", b"-Infinity"), Reason.NAN),
    (event().replace(b"5263", b'"NaN"'), Reason.WRONG_TYPE),
    (event().replace(b"5263", b"nan"), Reason.NOT_JSON),
    (event() + b" ", None),
    (event() + b" x", Reason.NOT_JSON),
    (event() + b"}", Reason.NOT_JSON),
    (event() + b"]", Reason.NOT_JSON),
    (event() + event(), Reason.NOT_JSON),
    (b"[" + event() + b"]", Reason.NOT_OBJECT),
    (b"5", Reason.NOT_OBJECT),
    (b"null", Reason.NOT_OBJECT),
    (event().replace(b'"Promo"', b'"Sales"'), Reason.NOT_JSON),
    (event().replace(b'"', b"'"), Reason.NOT_JSON),
    (event(Promo=...), Reason.MISSING_FIELD),
    (event(Sales=...), Reason.MISSING_FIELD),
    (event(Customers=...), Reason.MISSING_FIELD),
    (event(Open=...), Reason.MISSING_FIELD),
    (plan(), None),
    (plan(Open=...), None),
    (plan(Open=..., Date=...), Reason.MISSING_FIELD),
    (event(Sales="5263"), Reason.WRONG_TYPE),
    (event(Sales=5263.0), Reason.WRONG_TYPE),
    (event(Open=True), Reason.WRONG_TYPE),
    (event(Date=20150612), Reason.WRONG_TYPE),
    (event().replace(b"5263", b"1e400"), Reason.WRONG_TYPE),
    (event(StateHoliday=0.0), Reason.WRONG_TYPE),
    (event(Store="1"), Reason.WRONG_TYPE),
    (event(Sales=2**31 - 1), None),
    (event(Sales=2**31), Reason.OUT_OF_RANGE),
    (event(Sales=10**60), Reason.OUT_OF_RANGE),
    (event(Store=2**31), Reason.OUT_OF_RANGE),
    (event(Open=2), Reason.OUT_OF_RANGE),
    (event(Promo=-1), Reason.OUT_OF_RANGE),
    (event(SchoolHoliday=0), None),
    (event(DayOfWeek=0), Reason.OUT_OF_RANGE),
    (event(DayOfWeek=8), Reason.OUT_OF_RANGE),
    (event(Sales=0), None),
    (event(Sales=-1), Reason.NEGATIVE_SALES),
    (event(Customers=-1), Reason.NEGATIVE_SALES),
    (event().replace(b"5263", b"-0"), None),
    (event().replace(b"5263", b"-0.0"), Reason.WRONG_TYPE),
    (event(Date="2015-02-29", DayOfWeek=7), Reason.IMPOSSIBLE_DATE),
    (event(Date="2015-02-28", DayOfWeek=6), None),
    (event(Date="2015-6-12"), Reason.IMPOSSIBLE_DATE),
    (event(Date="2015-06-12T00:00"), Reason.IMPOSSIBLE_DATE),
    (event(Date="٢٠١٥-06-12"), Reason.IMPOSSIBLE_DATE),
    (event(Date="2013-01-01", DayOfWeek=2), None),
    (event(Date="2012-12-31", DayOfWeek=1), Reason.OUTSIDE_CALENDAR),
    (event(Date="2015-12-31", DayOfWeek=4), None),
    (event(Date="2016-01-01", DayOfWeek=5), Reason.OUTSIDE_CALENDAR),
    (event(DayOfWeek=4), Reason.WEEKDAY_MISMATCH),
    (event(StateHoliday="c"), None),
    (event(StateHoliday=0), None),
    (event(StateHoliday="d"), Reason.UNKNOWN_HOLIDAY),
    (event(StateHoliday=1), Reason.UNKNOWN_HOLIDAY),
    (event(StateHoliday=""), Reason.UNKNOWN_HOLIDAY),
    (event(Open=0, Sales=0, Customers=0), None),
    (event(Open=0, Sales=1, Customers=0), Reason.SALES_WHILE_CLOSED),
    (event(Basket={f"g{number}": number * 7 for number in range(100)}), None),
    (event(Basket=json.loads("[" * 99 + "]" * 99)), None),
    (event(Basket=json.loads("[" * 100 + "]" * 100)), Reason.NOT_JSON),
    (json.dumps({"before": None, "after": GOOD}).encode(), Reason.MISSING_FIELD),
    (event(Sales="a\u0000b", Date="2015\u0000", Open=1), Reason.WRONG_TYPE),
]


@pytest.mark.parametrize("use_regex", [True, False])
def test_each_reason_at_its_border(use_regex: bool) -> None:
    rows = validated([value for value, _ in BORDERS], use_regex=use_regex)
    for (value, reason), row in zip(BORDERS, rows, strict=True):
        assert row["reason"] == reason, value
        assert oracle.judge(value, FIRST, LAST).reason == reason, value


# The judge's clock stands at NOW; the calendar begins on 1 January 2013.
TIME_BORDERS: list[tuple[bytes, int, Reason | None]] = [
    (event(), ms(2015, 6, 11), None),
    (event(), ms(2015, 6, 11) - 1, Reason.FUTURE_SALES),
    (event(Open=0, Sales=0, Customers=0), ms(2015, 6, 10), Reason.FUTURE_SALES),
    (event(Date="2015-07-30", DayOfWeek=4), NOW_MS, Reason.FUTURE_SALES),
    (event(Date="2016-07-30", DayOfWeek=6), NOW_MS, Reason.OUTSIDE_CALENDAR),
    (plan(), ms(2015, 6, 10), None),
    (plan(Date="2015-07-30", DayOfWeek=4), NOW_MS, None),
    (event(), NOW_MS + 86_400_000, None),
    (event(), NOW_MS + 86_400_001, Reason.IMPOSSIBLE_TIME),
    (plan(), NOW_MS + 86_400_001, Reason.IMPOSSIBLE_TIME),
    (event(), NOW_MS // 1_000, Reason.IMPOSSIBLE_TIME),
    (event(), NOW_MS * 1_000, Reason.IMPOSSIBLE_TIME),
    (plan(), 0, Reason.IMPOSSIBLE_TIME),
    (event(), -1, Reason.IMPOSSIBLE_TIME),
    (event(), (2**63 - 1) // 1_000, Reason.IMPOSSIBLE_TIME),
    (event(), -(2**63) // 1_000 + 1, Reason.IMPOSSIBLE_TIME),
    (plan(Date="2013-01-01", DayOfWeek=2), ms(2012, 1, 1), None),
    (plan(Date="2013-01-01", DayOfWeek=2), ms(2011, 12, 31), Reason.IMPOSSIBLE_TIME),
    (event(Date="2013-01-01", DayOfWeek=2), ms(2012, 12, 31), None),
    (event(Date="2013-01-01", DayOfWeek=2), ms(2012, 12, 30), Reason.FUTURE_SALES),
    (event(Sales=-1), 0, Reason.NEGATIVE_SALES),
]


@pytest.mark.parametrize("use_regex", [True, False])
def test_an_events_time_is_judged_at_its_borders(use_regex: bool) -> None:
    values: list[bytes | None] = [value for value, _, _ in TIME_BORDERS]
    times = [sent for _, sent, _ in TIME_BORDERS]
    rows = validated(values, sent_ms=times, now=NOW, use_regex=use_regex)
    for (value, sent, reason), row in zip(TIME_BORDERS, rows, strict=True):
        assert row["reason"] == reason, (value, sent)
        assert oracle.judge(value, FIRST, LAST, sent, NOW).reason == reason, (value, sent)


def test_every_time_can_be_read_by_pandas_and_says_what_it_was() -> None:
    times = [NOW_MS, NOW_MS // 1_000, NOW_MS * 1_000, (2**63 - 1) // 1_000]
    rows = validated([event()] * 4, sent_ms=times, now=NOW)
    assert [pd.Timestamp(row["event_time"]).as_unit("ns").year for row in rows] == [
        2015,
        1970,
        2262,
        2262,
    ]
    assert [row["detail"] for row in rows] == [
        None,
        "1970-01-17T14:22:33+00:00",
        "after 2261",
        "after 2261",
    ]


@settings(max_examples=200, deadline=None, derandomize=True)
@given(
    sent_ms=st.integers(NOW_MS - 10 * 86_400_000, NOW_MS + 3 * 86_400_000),
    ahead=st.integers(-5, 5),
    is_plan=st.booleans(),
)
def test_times_are_judged_as_by_another_parser(sent_ms: int, ahead: int, is_plan: bool) -> None:
    day = NOW.date() + timedelta(days=ahead)
    changes = {"Date": day.isoformat(), "DayOfWeek": day.isoweekday()}
    value = plan(**changes) if is_plan else event(**changes)
    expected = oracle.judge(value, FIRST, LAST, sent_ms, NOW).reason
    for use_regex in (True, False):
        (row,) = validated([value], sent_ms=[sent_ms], now=NOW, use_regex=use_regex)
        assert row["reason"] == expected


def test_every_reason_but_the_sinks_has_a_border() -> None:
    reasons = {reason for _, reason in BORDERS} | {reason for _, _, reason in TIME_BORDERS}
    assert reasons == {*Reason, None} - {Reason.UNKNOWN_STORE, Reason.WITHDRAWN}


def test_good_event_is_typed() -> None:
    (row,) = validated([event(StateHoliday="a")])
    assert row["date"] == date(2015, 6, 12)
    assert (row["store"], row["sales"], row["customers"], row["open"]) == (1, 5263, 555, 1)
    assert (row["promo"], row["state_holiday"], row["school_holiday"]) == (1, "a", 1)
    assert row["event_time"] == SENT


def test_detail_is_printable_and_names_the_field() -> None:
    rows = validated([event(Date="2015\u0000\u001b[31m"), event(Customers=None)])
    assert rows[0]["detail"] == "2015??[31m"
    assert rows[1]["detail"] == "Customers"


def test_an_events_bytes_and_position_stay_with_it() -> None:
    values = [event(), b"x", None, event(Sales=-1)]
    rows = validated(values)
    assert [row["value"] for row in rows] == values
    assert [row["kafka_offset"] for row in rows] == [0, 1, 2, 3]
    assert [row["store"] for row in rows] == [1, None, None, None]


# As the producer and Python's own json.dumps write them.
@pytest.mark.parametrize("separators", [(",", ":"), (", ", ": ")])
@pytest.mark.parametrize("left_out", [(), ("Sales", "Customers"), ("Sales", "Customers", "Open")])
def test_events_as_they_are_usually_written_match_the_regex(
    monkeypatch: pytest.MonkeyPatch, separators: tuple[str, str], left_out: tuple[str, ...]
) -> None:
    monkeypatch.delattr(strict, "parse_event")
    kept = {name: GOOD[name] for name in GOOD if name not in left_out}
    (row,) = validated([json.dumps(kept, separators=separators).encode()])
    assert row["reason"] is None
    assert (row["sales"], row["open"]) == (kept.get("Sales"), kept.get("Open"))


def test_open_ended_calendar_reaches_a_year_ahead() -> None:
    today = datetime.now(UTC).date()
    days = [today + timedelta(days=ahead) for ahead in (365, 368)]
    values: list[bytes | None] = [
        plan(Date=day.isoformat(), DayOfWeek=day.isoweekday()) for day in days
    ]
    rows = validated(values, calendar=transform.Calendar(FIRST, None))
    assert [row["reason"] for row in rows] == [None, Reason.OUTSIDE_CALENDAR]


def same_as_oracle(values: list[bytes | None]) -> None:
    verdicts = [oracle.judge(value, FIRST, LAST) for value in values]
    for use_regex in (True, False):
        rows = validated(values, use_regex=use_regex)
        for value, row, verdict in zip(values, rows, verdicts, strict=True):
            assert row["reason"] == verdict.reason, (use_regex, value)
            if verdict.reason is None:
                got = {name: row[name] for name in verdict.row}
                assert got == verdict.row, (use_regex, value)


# No shrinking: a smaller seed is not a simpler event, and the message names the event itself.
@settings(
    max_examples=4,
    deadline=None,
    derandomize=True,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
@given(seed=st.integers(0, 2**32))
def test_mutated_events_are_validated_as_by_a_strict_parser(seed: int) -> None:
    rng = random.Random(seed)  # noqa: S311 - not for secrets
    values = [mutations.event_value(rng) for _ in range(10_000)]
    assert sum(oracle.judge(value, FIRST, LAST).reason is None for value in values) > 2_000
    same_as_oracle(values)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=6,
)
ODD_EVENTS = st.builds(
    lambda changes, ascii_only: json.dumps(GOOD | changes, ensure_ascii=ascii_only).encode(
        errors="surrogatepass"
    ),
    st.dictionaries(st.sampled_from(fields.FIELDS) | st.text(max_size=3), JSON, max_size=3),
    st.booleans(),
)


@settings(
    max_examples=100, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck)
)
@given(values=st.lists(ODD_EVENTS | st.binary(max_size=40), min_size=1, max_size=60))
def test_any_json_in_any_field_is_validated_as_by_a_strict_parser(values: list[bytes]) -> None:
    same_as_oracle(list(values))
