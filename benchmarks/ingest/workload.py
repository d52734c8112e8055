"""The benchmark's events, and the number of steps in which each way of `ways.py` ingests them."""

from datetime import date

import numpy as np
import pandas as pd

STORES = 1115
FIRST_DAY = date(2013, 1, 1)
LAST_DAY = date(2015, 12, 31)
#: Each way ingests the topic in this many steps; the first one is the cold start.
STEPS = 5


def real_shaped(events: int, seed: int = 7) -> pd.DataFrame:
    """Return sales shaped like the real files: every store on every day, ordered by day.

    Args:
        events: The number of rows.
        seed: Seed of the random sales, promos and school holidays.
    """
    rng = np.random.default_rng(seed)
    days = -(-events // STORES)
    calendar = pd.date_range(FIRST_DAY, LAST_DAY)[:days]
    if len(calendar) < days:
        calendar = calendar.append(calendar[: days - len(calendar)])
    day = np.repeat(calendar.to_numpy(), STORES)[:events]
    frame = pd.DataFrame({"Store": np.tile(np.arange(1, STORES + 1), days)[:events], "Date": day})
    frame["DayOfWeek"] = pd.DatetimeIndex(day).dayofweek + 1
    frame["Open"] = (frame["DayOfWeek"] != 7).astype(int)
    frame["Sales"] = rng.integers(1_000, 20_000, events) * frame["Open"]
    frame["Customers"] = frame["Sales"] // 9
    frame["Promo"] = rng.integers(0, 2, events)
    frame["StateHoliday"] = "0"
    frame["SchoolHoliday"] = rng.integers(0, 2, events)
    return frame
