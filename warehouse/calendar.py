"""The stored calendar, which holds the assets' settings as of their last run.

Settings that change what is computed are stored, too: a change of one makes stored rows stale. The
settings themselves are in `forecast_assets/settings.py`. The arithmetic of periods is in
`forecast_assets/planning/calendar.py`.
"""

import json
from dataclasses import asdict, dataclass
from datetime import date
from typing import Any

from warehouse.connection import Transaction
from warehouse.errors import CalendarError

#: Advisory lock for comparing and writing the row.
LOCK = "calendar"


@dataclass(frozen=True)
class Computation:
    """Settings that change what is computed from the same data.

    Attributes:
        unusual_factor: FORECAST_UNUSUAL_FACTOR, on which features depend.
        horizon: FORECAST_HORIZON, on which forecasts depend.
        error_measure: FORECAST_ERROR_MEASURE, on which forecasts depend.
    """

    unusual_factor: float | None
    horizon: int
    error_measure: str


def agree(
    transaction: Transaction,
    grain: str,
    first_day: date,
    last_day: date | None,
    computation: Computation,
) -> None:
    """Compare the settings with the stored ones, and store them.

    No refresh has computed the sales of days outside the stored calendar. For stores with sales on
    days that the settings add to the calendar, this function adds a change. It also adds one for
    all stores whose stored rows were computed with other settings.

    Args:
        transaction: The open transaction.
        grain: The length of a period: `monthly`, `weekly` or `daily`.
        first_day: First day of the first period.
        last_day: Last day of the last period; None leaves the calendar open.
        computation: The settings that change what is computed.

    Raises:
        CalendarError: The stored models and backtests have periods of another grain.
    """
    settings = {
        "grain": grain,
        "first_day": first_day,
        "last_day": last_day,
        "computation": asdict(computation),
    }
    if _in_force(transaction) == settings:
        return
    transaction.lock(LOCK)
    known = _in_force(transaction)
    if known is None:
        transaction.execute(
            """
            INSERT INTO sales.calendar (grain, first_day, last_day, computation)
            VALUES ($1, $2, $3, $4::text::jsonb)
            """,
            (grain, first_day, last_day, json.dumps(settings["computation"])),
        )
        return
    if known["grain"] != grain:
        _refuse_another_grain(transaction, known["grain"], grain)
    _note_newly_covered(transaction, known["first_day"], known["last_day"], first_day, last_day)
    # Null in databases from before it was stored: nobody knows what they were computed with.
    if known["computation"] is not None:
        _note_other_computation(transaction, Computation(**known["computation"]), computation)
    transaction.execute(
        """
        UPDATE sales.calendar
        SET grain = $1, first_day = $2, last_day = $3, computation = $4::text::jsonb
        """,
        (grain, first_day, last_day, json.dumps(settings["computation"])),
    )


def _in_force(transaction: Transaction) -> dict[str, Any] | None:
    rows = transaction.rows(
        "SELECT grain, first_day, last_day, computation::text FROM sales.calendar"
    )
    if not rows:
        return None
    known = rows[0]
    if known["computation"] is not None:
        known["computation"] = json.loads(known["computation"])
    return known


def _refuse_another_grain(transaction: Transaction, known: str, wanted: str) -> None:
    if not transaction.value("SELECT EXISTS (SELECT FROM sales.models)"):
        return
    raise CalendarError(
        f"FORECAST_DATE_GRAIN is {wanted}, but the stored models and backtests have {known} "
        f"periods, and so have Dagster's partitions. Set it back to {known} and restart, or start "
        "again with an empty database and an empty Dagster instance (`make down DELETE=1`)"
    )


def _note_newly_covered(
    transaction: Transaction,
    known_first: date,
    known_last: date | None,
    first: date,
    last: date | None,
) -> None:
    """Add a change for stores with sales on days that the calendar has not covered before."""
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


def _note_other_computation(
    transaction: Transaction, known: Computation, wanted: Computation
) -> None:
    """Add a change for all stores with cleaned sales if these were computed with other settings.

    Features change since the first day. Forecasts are computed again from the newest day; older
    backtests stay as they were made.
    """
    if known == wanted:
        return
    first = "min" if known.unusual_factor != wanted.unusual_factor else "max"
    transaction.execute(
        f"""
        INSERT INTO sales.changes (kind, stores, first_days)
        SELECT 'calendar', array_agg(store ORDER BY store), array_agg(first_day ORDER BY store)
        FROM (
            SELECT store, {first}(date) AS first_day FROM sales.cleaned_sales GROUP BY store
        ) AS computed
        HAVING count(*) > 0
        """
    )
