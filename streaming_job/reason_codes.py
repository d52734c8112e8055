"""The reason codes of quarantined events, and the limits that they rest on.

Field names and codes are in `rossmann.fields`. The limits of times are in `rossmann.event_times`,
which the loader of files shares. Nothing here parses or connects: `transform` and `strict` apply
these rules, and `sink/task` those that need the database. The tests check them against another
parser, and docs/streaming.md states them as a grammar.
"""

from enum import StrEnum

from rossmann import event_times

#: Range of every integer field: PostgreSQL's `integer`.
MIN_INTEGER = -(2**31)
MAX_INTEGER = 2**31 - 1

#: Longest value, in bytes. An event of the nine fields takes about 150; the rest is room for
#: members that are ignored, such as a basket.
MAX_VALUE_BYTES = 65_536
#: Levels of nesting. JSON parsers disagree beyond several hundred; the fields need one.
MAX_NESTING = 100


class Reason(StrEnum):
    """Why an event is quarantined: the first reason that applies, in this order."""

    NULL_VALUE = "null_value"
    OVERSIZED = "oversized"
    NOT_UTF8 = "not_utf8"
    NAN = "nan"
    NOT_JSON = "not_json"
    NOT_OBJECT = "not_object"
    MISSING_FIELD = "missing_field"
    WRONG_TYPE = "wrong_type"
    OUT_OF_RANGE = "out_of_range"
    NEGATIVE_SALES = "negative_sales"
    IMPOSSIBLE_DATE = "impossible_date"
    OUTSIDE_CALENDAR = "outside_calendar"
    WEEKDAY_MISMATCH = "weekday_mismatch"
    UNKNOWN_HOLIDAY = "unknown_holiday"
    SALES_WHILE_CLOSED = "sales_while_closed"
    IMPOSSIBLE_TIME = event_times.IMPOSSIBLE_TIME
    FUTURE_SALES = event_times.FUTURE_SALES
    UNKNOWN_STORE = "unknown_store"
    WITHDRAWN = "withdrawn"


#: What a requeue judges again unless it is told otherwise: a person withdrew the others.
REQUEUED = tuple(reason for reason in Reason if reason is not Reason.WITHDRAWN)
