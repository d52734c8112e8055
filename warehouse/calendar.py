"""The calendar in force: what the assets' settings said when they last ran.

The settings themselves are in `forecast_assets/settings.py`, the arithmetic of periods is in
`forecast_assets/planning/calendar.py`.
"""

from datetime import date
from typing import Any

from warehouse.connection import Transaction
from warehouse.errors import CalendarError

#: Advisory lock of those who compare and write the row.
LOCK = "calendar"


def agree(transaction: Transaction, grain: str, first_day: date, last_day: date | None) -> None:
    """Compare the settings with the calendar in force, and put the settings in force.

    Days that the calendar did not cover so far have sales that no refresh computed. Where it now
    covers them, this adds a change for their stores.

    Args:
        transaction: The open transaction.
        grain: The length of a period: `monthly`, `weekly` or `daily`.
        first_day: First day of the first period.
        last_day: Last day of the last period; None leaves the calendar open.

    Raises:
        CalendarError: Models and backtests are stored by periods of another grain.
    """
    settings = {"grain": grain, "first_day": first_day, "last_day": last_day}
    if _in_force(transaction) == settings:
        return
    transaction.lock(LOCK)
    known = _in_force(transaction)
    if known is None:
        transaction.execute(
            "INSERT INTO sales.calendar (grain, first_day, last_day) VALUES ($1, $2, $3)",
            (grain, first_day, last_day),
        )
        return
    if known["grain"] != grain:
        _refuse_another_grain(transaction, known["grain"], grain)
    _note_newly_covered(transaction, known["first_day"], known["last_day"], first_day, last_day)
    transaction.execute(
        "UPDATE sales.calendar SET grain = $1, first_day = $2, last_day = $3",
        (grain, first_day, last_day),
    )


def _in_force(transaction: Transaction) -> dict[str, Any] | None:
    rows = transaction.rows("SELECT grain, first_day, last_day FROM sales.calendar")
    return rows[0] if rows else None


def _refuse_another_grain(transaction: Transaction, known: str, wanted: str) -> None:
    if not transaction.value("SELECT EXISTS (SELECT FROM sales.models)"):
        return
    raise CalendarError(
        f"FORECAST_DATE_GRAIN is {wanted}, but the stored models and backtests have {known} "
        f"periods, and so have Dagster's partitions. Set it back to {known} and restart; or start "
        "over with an empty database and an empty Dagster instance (`make down DELETE=1`)"
    )


def _note_newly_covered(
    transaction: Transaction,
    known_first: date,
    known_last: date | None,
    first: date,
    last: date | None,
) -> None:
    """Add a change for stores with sales on days that the calendar covers from now on."""
    transaction.execute(
        """
        INSERT INTO sales.changes (kind, stores, first_days)
        SELECT 'calendar', array_agg(store ORDER BY store), array_agg(first_day ORDER BY store)
        FROM (
            SELECT store, min(date) AS first_day FROM sales.raw_sales
            WHERE date BETWEEN $3 AND $4 AND (date < $1 OR date > $2)
            GROUP BY store
        ) AS touched
        HAVING count(*) > 0
        """,
        (known_first, known_last or date.max, first, last or date.max),
    )
