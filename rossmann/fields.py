"""Field names and codes of the data set's days, as `train.csv` and the stream's events have them.

Contains the facts that several packages share. Reading Kaggle's files is in `kaggle`, the rules
that an event must satisfy are in `streaming_job`, the features made of the codes are in
`forecasting`. Spark's Python workers import this module: it imports only the standard library.
"""

from typing import Final

STORE: Final = "Store"
DAY_OF_WEEK: Final = "DayOfWeek"
DATE: Final = "Date"
SALES: Final = "Sales"
CUSTOMERS: Final = "Customers"
OPEN: Final = "Open"
PROMO: Final = "Promo"
STATE_HOLIDAY: Final = "StateHoliday"
SCHOOL_HOLIDAY: Final = "SchoolHoliday"

#: The column of the sales tables that each field fills, in the order of `train.csv`.
COLUMNS: Final[dict[str, str]] = {
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

#: Every field of a day, in the order of `train.csv`.
FIELDS: Final[tuple[str, ...]] = tuple(COLUMNS)

#: Fields that are 0 or 1.
FLAGS: Final[tuple[str, ...]] = (OPEN, PROMO, SCHOOL_HOLIDAY)

#: Fields whose values are integers; the others are text.
INTEGER_FIELDS: Final[tuple[str, ...]] = tuple(
    field for field in FIELDS if field not in (DATE, STATE_HOLIDAY)
)

#: Fields that are known only once a day is over. A planned day has neither.
OUTCOME_FIELDS: Final[tuple[str, ...]] = (SALES, CUSTOMERS)

#: Fields that a planned day may leave out.
OPTIONAL_ON_PLAN: Final[tuple[str, ...]] = (*OUTCOME_FIELDS, OPEN)

#: The codes of `StateHoliday`: none, public holiday, Easter, Christmas.
STATE_HOLIDAY_CODES: Final[tuple[str, ...]] = ("0", "a", "b", "c")
