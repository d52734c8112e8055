"""Sales of an unusual size: a typing error of a factor of ten or more, as far as anybody can tell.

One such day would shift a store's level for four weeks. Whether a second event confirms it, and
what then happens, is decided by the callers.
"""

from __future__ import annotations

from datetime import date

import numpy as np
import numpy.typing as npt
import pandas as pd

#: Days before a day whose median is the usual size.
USUAL_DAYS = 56
#: Open days among them that are needed to know the usual size.
MIN_USUAL_DAYS = 7


def unusual_sales(
    days: pd.DataFrame, factor: float, *, start: date, end: date
) -> npt.NDArray[np.bool_]:
    """Find the sales that differ from their store's usual ones by a factor.

    The usual size is the median of the open days before: later days never change it, and a run of
    errors shorter than half of them doesn't either.

    Args:
        days: Rows with store, date, sales (NaN where not known) and open; at least `USUAL_DAYS`
            before `start`.
        factor: How many times the usual sales are unusual, and what part of them.
        start: First day to judge.
        end: Last day to judge.

    Returns:
        Whether each row of `days` is unusual; False outside the requested days.
    """
    sales = days["sales"].to_numpy(np.float64, na_value=np.nan)
    sold = (days["open"].to_numpy() == 1) & (sales > 0)
    unusual = np.zeros(len(days), bool)
    if not sold.any():
        return unusual
    dates = days["date"].to_numpy("datetime64[D]")
    first = min(dates.min(), np.datetime64(start, "D"))
    day = (dates - first).astype(int)
    store, stores = pd.factorize(days["store"].to_numpy())
    logs = np.full((len(stores), int(day.max()) + 1), np.nan)
    logs[store[sold], day[sold]] = np.log(sales[sold])
    is_judged = sold & (dates >= np.datetime64(start, "D")) & (dates <= np.datetime64(end, "D"))
    for number in np.unique(day[is_judged]):
        usual = _median(logs[:, max(0, number - USUAL_DAYS) : number])
        rows = np.flatnonzero(is_judged & (day == number))
        with np.errstate(invalid="ignore"):
            unusual[rows] = np.abs(logs[store[rows], number] - usual[store[rows]]) > np.log(factor)
    return unusual


def _median(logs: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the median of each row; NaN where too few values are known."""
    ordered = np.sort(logs, axis=1)
    count = np.sum(~np.isnan(logs), axis=1)
    out = np.full(len(logs), np.nan)
    enough = np.flatnonzero(count >= MIN_USUAL_DAYS)
    low, high = (count[enough] - 1) // 2, count[enough] // 2
    out[enough] = (ordered[enough, low] + ordered[enough, high]) / 2
    return out
