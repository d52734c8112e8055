"""A second parser of events in plain Python, which the tests compare with `transform`.

It shares only the field names, the reason codes and the limits of size and nesting with the
stream's code.
"""

import json
import re
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any

from rossmann.fields import FIELDS
from streaming_job.reason_codes import MAX_NESTING, MAX_VALUE_BYTES, Reason


@dataclass
class Verdict:
    reason: Reason | None
    row: dict[str, Any] = field(default_factory=dict)


class _TwiceError(ValueError):
    pass


def _strict_json(text: str) -> tuple[Any, bool]:
    """Return the value and whether NaN or Infinity occurs; raise ValueError if it is not JSON."""
    constants = []

    def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
        if len({name for name, _ in items}) != len(items):
            raise _TwiceError
        for name, _ in items:
            name.encode()
        return dict(items)

    def constant(name: str) -> None:
        constants.append(name)

    value = json.loads(text, object_pairs_hook=pairs, parse_constant=constant)
    _refuse_lone_surrogates(value)
    return value, bool(constants)


def _refuse_lone_surrogates(value: Any) -> None:
    if isinstance(value, str):
        value.encode()
    elif isinstance(value, list):
        for item in value:
            _refuse_lone_surrogates(item)
    elif isinstance(value, dict):
        for item in value.values():
            _refuse_lone_surrogates(item)


def _depth(value: Any) -> int:
    inner = value.values() if isinstance(value, dict) else value
    return 1 + max(map(_depth, inner), default=0) if isinstance(value, dict | list) else 0


def judge(
    value: bytes | None,
    first: date,
    last: date,
    sent_ms: int | None = None,
    now: datetime | None = None,
) -> Verdict:
    """Return the verdict on one event, except for the existence of its store.

    Args:
        value: The event's bytes.
        first: First day of the calendar.
        last: Last day of the calendar.
        sent_ms: The event's time in Kafka's unit; None means now, when no day lies ahead.
        now: The clock of the judge.
    """
    verdict = _judge_value(value, first, last)
    if verdict.reason is None and sent_ms is not None:
        now = now or datetime.now(UTC)
        earliest = datetime(first.year, first.month, first.day, tzinfo=UTC) - timedelta(days=366)
        if not earliest.timestamp() <= sent_ms / 1000 <= now.timestamp() + 86_400:
            return Verdict(Reason.IMPOSSIBLE_TIME)
        tomorrow = datetime.fromtimestamp(sent_ms / 1000, UTC).date() + timedelta(days=1)
        if verdict.row["sales"] is not None and verdict.row["date"] > tomorrow:
            return Verdict(Reason.FUTURE_SALES)
    return verdict


def _judge_value(value: bytes | None, first: date, last: date) -> Verdict:  # noqa: PLR0911
    if value is None:
        return Verdict(Reason.NULL_VALUE)
    if len(value) > MAX_VALUE_BYTES:
        return Verdict(Reason.OVERSIZED)
    try:
        text = value.decode()
    except UnicodeDecodeError:
        return Verdict(Reason.NOT_UTF8)
    try:
        event, has_nan = _strict_json(text)
    except (ValueError, RecursionError):
        return Verdict(Reason.NOT_JSON)
    if _depth(event) > MAX_NESTING:
        return Verdict(Reason.NOT_JSON)
    if has_nan:
        return Verdict(Reason.NAN)
    if not isinstance(event, dict):
        return Verdict(Reason.NOT_OBJECT)
    return _judge_fields(event, first, last)


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _judge_fields(event: dict[str, Any], first: date, last: date) -> Verdict:  # noqa: PLR0911, PLR0912
    given = {name: event[name] for name in FIELDS if name in event}
    if None in given.values():
        return Verdict(Reason.NULL_VALUE)
    needed = set(FIELDS)
    if "Sales" not in given and "Customers" not in given:
        needed -= {"Sales", "Customers", "Open"}
    if needed - set(given):
        return Verdict(Reason.MISSING_FIELD)
    for name, value in given.items():
        if name == "Date":
            fits = isinstance(value, str)
        elif name == "StateHoliday":
            fits = isinstance(value, str) or _is_integer(value)
        else:
            fits = _is_integer(value)
        if not fits:
            return Verdict(Reason.WRONG_TYPE)
    for name, value in given.items():
        if name in ("Date", "StateHoliday"):
            continue
        low, high = -(2**31), 2**31 - 1
        if name in ("Open", "Promo", "SchoolHoliday"):
            low, high = 0, 1
        elif name == "DayOfWeek":
            low, high = 1, 7
        if not low <= value <= high:
            return Verdict(Reason.OUT_OF_RANGE)
    if given.get("Sales", 0) < 0 or given.get("Customers", 0) < 0:
        return Verdict(Reason.NEGATIVE_SALES)
    if not re.fullmatch("[0-9]{4}-[0-9]{2}-[0-9]{2}", given["Date"]):
        return Verdict(Reason.IMPOSSIBLE_DATE)
    try:
        day = date.fromisoformat(given["Date"])
    except ValueError:
        return Verdict(Reason.IMPOSSIBLE_DATE)
    if not first <= day <= last:
        return Verdict(Reason.OUTSIDE_CALENDAR)
    if day.isoweekday() != given["DayOfWeek"]:
        return Verdict(Reason.WEEKDAY_MISMATCH)
    holiday = given["StateHoliday"]
    holiday = "0" if holiday == 0 and _is_integer(holiday) else holiday
    if holiday not in ("0", "a", "b", "c"):
        return Verdict(Reason.UNKNOWN_HOLIDAY)
    if given.get("Open") == 0 and given.get("Sales", 0) > 0:
        return Verdict(Reason.SALES_WHILE_CLOSED)
    return Verdict(
        None,
        {
            "store": given["Store"],
            "day_of_week": given["DayOfWeek"],
            "date": day,
            "sales": given.get("Sales"),
            "customers": given.get("Customers"),
            "open": given.get("Open"),
            "promo": given["Promo"],
            "state_holiday": holiday,
            "school_holiday": given["SchoolHoliday"],
        },
    )
