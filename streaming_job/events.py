"""What an event is: its field names, its limits, and the reasons for which one is quarantined.

Nothing here parses or connects: `transform` and `strict` apply these rules, the tests hold them
against another parser, and docs/streaming.md prints them as a grammar.
"""

from enum import StrEnum

STORE = "Store"
DAY_OF_WEEK = "DayOfWeek"
DATE = "Date"
SALES = "Sales"
CUSTOMERS = "Customers"
OPEN = "Open"
PROMO = "Promo"
STATE_HOLIDAY = "StateHoliday"
SCHOOL_HOLIDAY = "SchoolHoliday"

FIELDS = (
    STORE,
    DAY_OF_WEEK,
    DATE,
    SALES,
    CUSTOMERS,
    OPEN,
    PROMO,
    STATE_HOLIDAY,
    SCHOOL_HOLIDAY,
)
"""The dataset's own fields, in the dataset's own order."""

INTEGER_FIELDS = tuple(field for field in FIELDS if field not in (DATE, STATE_HOLIDAY))

COLUMNS = {
    STORE: "store",
    DAY_OF_WEEK: "day_of_week",
    DATE: "date",
    SALES: "sales",
    CUSTOMERS: "customers",
    OPEN: "open",
    PROMO: "promo",
    STATE_HOLIDAY: "state_holiday",
    SCHOOL_HOLIDAY: "school_holiday",
}
"""The column of `sales.raw_sales` that each field fills."""

ABSENT_ON_PLAN = (SALES, CUSTOMERS)
"""An event without both of these is a plan for its day; without one of them it is incomplete."""

OPTIONAL_ON_PLAN = (SALES, CUSTOMERS, OPEN)

FLAGS = (OPEN, PROMO, SCHOOL_HOLIDAY)
"""Integer fields that are 0 or 1."""

HOLIDAY_CODES = ("0", "a", "b", "c")

MAX_INTEGER = 2**31 - 1
MIN_INTEGER = -(2**31)

MAX_VALUE_BYTES = 1_000
"""An event of the nine fields takes about 150 bytes. The limit also keeps nesting and number
lengths below those at which JSON parsers disagree."""


class Reason(StrEnum):
    """Why an event cannot be used; the first that applies, in this order."""

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
    UNKNOWN_STORE = "unknown_store"


MEANING = {
    Reason.NULL_VALUE: "the event has no value, or a field is null",
    Reason.OVERSIZED: f"the value is longer than {MAX_VALUE_BYTES} bytes",
    Reason.NOT_UTF8: "the value is not UTF-8",
    Reason.NAN: "the value is JSON but for NaN or Infinity in it",
    Reason.NOT_JSON: "the value is not exactly one JSON text (RFC 8259), or names a field twice",
    Reason.NOT_OBJECT: "the value is JSON, but not an object",
    Reason.MISSING_FIELD: "a field is absent; Sales and Customers may be absent together, "
    "and Open with them",
    Reason.WRONG_TYPE: "a field has another JSON type, or a number is not written as an integer",
    Reason.OUT_OF_RANGE: "an integer is outside the range of its field",
    Reason.NEGATIVE_SALES: "Sales or Customers is below zero",
    Reason.IMPOSSIBLE_DATE: "Date is not a day of the calendar written YYYY-MM-DD",
    Reason.OUTSIDE_CALENDAR: "Date lies outside the configured calendar",
    Reason.WEEKDAY_MISMATCH: "DayOfWeek (1 = Monday) contradicts Date",
    Reason.UNKNOWN_HOLIDAY: "StateHoliday is none of 0, a, b, c",
    Reason.SALES_WHILE_CLOSED: "Sales is above zero on a day with Open 0",
    Reason.UNKNOWN_STORE: "Store is not in sales.stores",
}
