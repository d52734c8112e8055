"""Which stored sales are of an unusual size and not confirmed by a second event.

The size is judged by `forecasting/unusual.py`. An event confirms another of the same store and
date if it has the same sales and another event time: a producer that sends one event twice is not
a second opinion.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta

import numpy as np
import numpy.typing as npt
import pandas as pd

from forecasting.unusual import USUAL_DAYS, unusual_sales
from warehouse.connection import Transaction


def unconfirmed(
    transaction: Transaction, days: pd.DataFrame, factor: float | None, start: date, end: date
) -> npt.NDArray[np.bool_]:
    """Find the rows of a day panel whose sales are unusual and unconfirmed.

    Args:
        transaction: The open transaction.
        days: The day panel, at least `USUAL_DAYS` before `start`.
        factor: How many times the usual sales are unusual; None: no sales are.
        start: First day to judge.
        end: Last day to judge.

    Returns:
        One value for each row of `days`.
    """
    if factor is None:
        return np.zeros(len(days), bool)
    unusual = unusual_sales(days, factor, start=start, end=end)
    if unusual.any():
        suspects = days.loc[unusual, ["store", "date"]]
        confirmed = pd.MultiIndex.from_frame(_confirmed(transaction, suspects))
        unusual[unusual] = ~pd.MultiIndex.from_frame(suspects).isin(confirmed)
    return unusual


def _confirmed(transaction: Transaction, suspects: pd.DataFrame) -> pd.DataFrame:
    """Return those of some stores and dates whose cleaned sales at least two events name."""
    return transaction.frame(
        """
        SELECT c.store, c.date
        FROM unnest($1::int4[], $2::date[]) AS suspect (store, date)
        JOIN sales.cleaned_sales c USING (store, date)
        JOIN sales.raw_sales r USING (store, date, sales)
        GROUP BY c.store, c.date HAVING count(DISTINCT r.event_time) > 1
        """,
        (
            [int(store) for store in suspects["store"]],
            [day.date() for day in pd.to_datetime(suspects["date"])],
        ),
    )


def count_unconfirmed(
    transaction: Transaction,
    stores: Sequence[int],
    first_day: date,
    last_day: date,
    factor: float | None,
) -> pd.DataFrame:
    """Mark the unusual and unconfirmed sales of some stores and days in `cleaned_sales`.

    Args:
        transaction: The open transaction.
        stores: The stores.
        first_day: The first day.
        last_day: The last day.
        factor: As for `unconfirmed`.

    Returns:
        Rows with store, date and unusual (0 or 1).
    """
    days = transaction.frame(
        """
        SELECT store, date, sales::float8 AS sales, open FROM sales.cleaned_sales
        WHERE date BETWEEN $2 AND $3 AND store = ANY($1::int4[])
        """,
        (list(stores), first_day - timedelta(days=USUAL_DAYS), last_day),
    )
    unusual = unconfirmed(transaction, days, factor, first_day, last_day)
    return days[["store", "date"]].assign(unusual=unusual.astype("int32"))
