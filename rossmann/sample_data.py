"""A generator of made-up sales with the files, columns and oddities of Kaggle's Rossmann data.

Sales are the product of a store's level, weekday, promo, season, holidays, trend and noise; the
numbers are invented, and only their structure follows the real data. The same arguments give the
same files. Reading the files is in `kaggle.py`.
"""

from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
from dateutil.easter import easter

#: A Monday of a promo week in the real data; promos run Monday to Friday of every second week.
PROMO_ANCHOR = np.datetime64("2015-07-27")
PROMO_CYCLE_DAYS = 14
#: Planned days after the last day with sales.
TEST_DAYS = 42
#: Share of stores with half a year without any row: 180 of 1,115 in the real data.
REFURBISHED_SHARE = 0.16
REFURBISHMENT_DAYS = 184
#: Share of stores that also trade on Sundays and state holidays: 33 of 1,115.
SUNDAY_SHARE = 0.03
STATES = 12
#: Log of each weekday's sales relative to the mean; Sunday's is that of the few open stores.
WEEKDAY_EFFECT = np.array([0.14, 0.0, -0.05, -0.05, 0.0, -0.12, 0.05])
PROMO_EFFECT = 0.32
ZERO_SALES_SHARE = 54 / 844_392
#: One store of the real test file has 11 days without `Open`.
MISSING_OPEN_DAYS = 11


@dataclass(frozen=True)
class SampleFiles:
    """The three frames, each with the columns of its file."""

    train: pd.DataFrame
    test: pd.DataFrame
    store: pd.DataFrame

    def write(self, folder: Path) -> None:
        """Write `train.csv`, `test.csv` and `store.csv`, each whole or not at all.

        Args:
            folder: Where they go; created if missing.

        Raises:
            OSError: The folder cannot be written to, or the disk is full.
        """
        folder.mkdir(parents=True, exist_ok=True)
        for name, frame in (("store", self.store), ("test", self.test), ("train", self.train)):
            unfinished = folder / f"{name}.csv.unfinished"
            try:
                frame.to_csv(unfinished, index=False)
                unfinished.replace(folder / f"{name}.csv")
            finally:
                unfinished.unlink(missing_ok=True)


def sample_files(stores: int, days: int, end: date, seed: int = 1) -> SampleFiles:
    """Make up the sales of a chain of stores.

    Args:
        stores: Number of stores, at least 1.
        days: Number of days with sales, at least 14.
        end: The last day with sales.
        seed: Seed of the random numbers.

    Returns:
        The three frames; the test file plans the 42 days after `end`.

    Raises:
        ValueError: A number is too small.
    """
    if stores < 1 or days < PROMO_CYCLE_DAYS:
        raise ValueError(f"at least 1 store and {PROMO_CYCLE_DAYS} days are needed")
    random = np.random.default_rng(seed)
    dates = pd.date_range(end - timedelta(days=days - 1), periods=days + TEST_DAYS, freq="D")
    chain = _Chain.make(random, stores)
    grid = _plan(random, chain, dates)
    sales, customers = _sales(random, chain, grid, dates)
    frame = _frame(grid, sales, customers, dates)
    train = frame[frame["Date"] <= np.datetime64(end)]
    train = train[~_without_rows(random, chain, train, dates[:days])]
    test = frame[frame["Date"] > np.datetime64(end)].drop(columns=["Sales", "Customers"])
    return SampleFiles(
        train=_newest_first(train),
        test=_test(_newest_first(test), stores),
        store=chain.table(random),
    )


@dataclass(frozen=True)
class _Chain:
    """Properties of each store; arrays of shape (stores,), `weekday_effect` (stores, 7)."""

    ids: np.ndarray
    state: np.ndarray
    level: np.ndarray
    trend: np.ndarray
    promo_effect: np.ndarray
    weekday_effect: np.ndarray
    spend: np.ndarray
    always_open: np.ndarray
    refurbished: np.ndarray

    @classmethod
    def make(cls, random: np.random.Generator, stores: int) -> "_Chain":
        always_open = random.random(stores) < SUNDAY_SHARE
        return cls(
            ids=np.arange(1, stores + 1),
            state=random.integers(0, STATES, stores),
            level=random.normal(8.75, 0.38, stores),
            trend=random.normal(0.02, 0.05, stores),
            promo_effect=random.normal(PROMO_EFFECT, 0.08, stores),
            weekday_effect=WEEKDAY_EFFECT + random.normal(0, 0.03, (stores, 7)),
            spend=random.normal(9.5, 1.5, stores).clip(5),
            always_open=always_open,
            refurbished=random.random(stores) < REFURBISHED_SHARE,
        )

    def table(self, random: np.random.Generator) -> pd.DataFrame:
        """Return the rows of `store.csv`."""
        stores = len(self.ids)
        promo2 = random.random(stores) < 0.51
        competition = random.random(stores) < 0.68
        intervals = np.array(["Jan,Apr,Jul,Oct", "Feb,May,Aug,Nov", "Mar,Jun,Sept,Dec"])
        distance = np.round(random.lognormal(7.7, 1.2, stores), -1).clip(20, 75_860)

        def optional(values: np.ndarray, known: np.ndarray) -> pd.Series:
            return pd.Series(values, dtype="Int64").where(pd.Series(known))

        return pd.DataFrame(
            {
                "Store": self.ids,
                "StoreType": np.where(
                    self.always_open,
                    "b",
                    random.choice(["a", "c", "d"], stores, p=[0.55, 0.14, 0.31]),
                ),
                "Assortment": random.choice(["a", "b", "c"], stores, p=[0.53, 0.01, 0.46]),
                # Three real stores have no known competitor.
                "CompetitionDistance": optional(
                    distance.astype(int), random.random(stores) >= 3 / 1115
                ),
                "CompetitionOpenSinceMonth": optional(random.integers(1, 13, stores), competition),
                "CompetitionOpenSinceYear": optional(
                    random.integers(2000, 2016, stores), competition
                ),
                "Promo2": promo2.astype(int),
                "Promo2SinceWeek": optional(random.integers(1, 51, stores), promo2),
                "Promo2SinceYear": optional(random.integers(2009, 2016, stores), promo2),
                "PromoInterval": np.where(promo2, random.choice(intervals, stores), ""),
            }
        )


@dataclass(frozen=True)
class _Grid:
    """The plan, known ahead; arrays of shape (days, stores)."""

    open: np.ndarray
    promo: np.ndarray
    state_holiday: np.ndarray
    school_holiday: np.ndarray


def _plan(random: np.random.Generator, chain: _Chain, dates: pd.DatetimeIndex) -> _Grid:
    days, stores = len(dates), len(chain.ids)
    weekday = dates.dayofweek.to_numpy()
    since_anchor = (dates.to_numpy().astype("datetime64[D]") - PROMO_ANCHOR).astype(int)
    promo_day = (since_anchor % PROMO_CYCLE_DAYS < 5).astype(int)
    by_state_holiday = np.full((days, STATES), "0", dtype="<U1")
    by_state_school = np.zeros((days, STATES), dtype=int)
    for year in range(dates[0].year - 1, dates[-1].year + 2):
        for day, code, states in state_holidays(year):
            on_that_day = np.flatnonzero(dates == pd.Timestamp(day))
            by_state_holiday[np.ix_(on_that_day, np.array(states))] = code
        for first, last, states in school_holidays(year):
            inside = (dates >= pd.Timestamp(first)) & (dates <= pd.Timestamp(last))
            by_state_school[np.ix_(np.flatnonzero(inside), np.array(states))] = 1
    holiday = by_state_holiday[:, chain.state]
    closed = (weekday[:, None] == 6) | (holiday != "0")
    is_open = ~closed | chain.always_open
    # A short refurbishment: the rows exist, but the store is closed for two to eight weeks.
    for store in np.flatnonzero(random.random(stores) < 0.05):
        begin = int(random.integers(0, max(1, days - 60)))
        is_open[begin : begin + int(random.integers(14, 57)), store] = False
    return _Grid(
        open=is_open.astype(int),
        promo=np.repeat(promo_day[:, None], stores, axis=1),
        state_holiday=holiday,
        school_holiday=by_state_school[:, chain.state],
    )


def _sales(
    random: np.random.Generator, chain: _Chain, grid: _Grid, dates: pd.DatetimeIndex
) -> tuple[np.ndarray, np.ndarray]:
    """Return sales and customers, shape (days, stores); 0 on closed days."""
    days, stores = grid.open.shape
    weekday = dates.dayofweek.to_numpy()
    day_of_year = dates.dayofyear.to_numpy()
    years = np.arange(days) / 365.25
    season = 0.03 * np.cos(2 * np.pi * (day_of_year - 340) / 365.25)
    advent = ((dates.month == 12) & (dates.day < 25)).astype(float)
    season = season + advent * 0.012 * (np.asarray(dates.day) - 2)
    logs = (
        chain.level
        + np.outer(years, chain.trend)
        + chain.weekday_effect[:, weekday].T
        + chain.promo_effect * grid.promo * np.where(weekday == 0, 1.25, 1.0)[:, None]
        + season[:, None]
        + 0.03 * grid.school_holiday
    )
    # Customers buy more right before and after a closed day.
    neighbours = np.zeros_like(logs)
    closed = grid.open == 0
    neighbours[:-1] += 0.06 * closed[1:]
    neighbours[1:] += 0.05 * closed[:-1]
    common_shock = random.normal(0, 0.03, (days, 1))
    drift = np.zeros((days, stores))
    steps = random.normal(0, 0.02, (days, stores))
    for day in range(1, days):
        drift[day] = 0.96 * drift[day - 1] + steps[day]
    noise = random.normal(0, 0.07, (days, stores))
    sales = np.round(np.exp(logs + neighbours + common_shock + drift + noise)).astype(int)
    sales = np.where(closed | (random.random((days, stores)) < ZERO_SALES_SHARE), 0, sales)
    baskets = chain.spend * random.normal(1, 0.04, (days, stores))
    customers = np.where(sales > 0, np.maximum(1, np.round(sales / baskets)), 0).astype(int)
    return sales, customers


def _frame(
    grid: _Grid, sales: np.ndarray, customers: np.ndarray, dates: pd.DatetimeIndex
) -> pd.DataFrame:
    days, stores = sales.shape
    return pd.DataFrame(
        {
            "Store": np.tile(np.arange(1, stores + 1), days),
            "DayOfWeek": np.repeat(dates.dayofweek.to_numpy() + 1, stores),
            "Date": np.repeat(dates.to_numpy(), stores),
            "Sales": sales.ravel(),
            "Customers": customers.ravel(),
            "Open": grid.open.ravel(),
            "Promo": grid.promo.ravel(),
            "StateHoliday": grid.state_holiday.ravel(),
            "SchoolHoliday": grid.school_holiday.ravel(),
        }
    )


def _without_rows(
    random: np.random.Generator, chain: _Chain, train: pd.DataFrame, dates: pd.DatetimeIndex
) -> pd.Series:
    """Mark the half year whose rows refurbished stores lack altogether."""
    length = min(REFURBISHMENT_DAYS, len(dates) // 4)
    begin = int(random.integers(len(dates) // 4, len(dates) // 2 + 1))
    inside = train["Date"].between(dates[begin], dates[begin + length - 1])
    refurbished: pd.Series = train["Store"].isin(chain.ids[chain.refurbished])
    return inside & refurbished


def _newest_first(frame: pd.DataFrame) -> pd.DataFrame:
    ordered = frame.sort_values(["Date", "Store"], ascending=[False, True], ignore_index=True)
    return ordered.assign(Date=ordered["Date"].dt.strftime("%Y-%m-%d"))


def _test(frame: pd.DataFrame, stores: int) -> pd.DataFrame:
    frame.insert(0, "Id", np.arange(1, len(frame) + 1))
    oldest = frame[frame["Store"] == (622 if stores >= 622 else stores)].index[-MISSING_OPEN_DAYS:]
    return frame.assign(Open=frame["Open"].astype("Int64").mask(frame.index.isin(oldest)))


def state_holidays(year: int) -> list[tuple[date, str, list[int]]]:
    """Return a year's public holidays: day, the data's code, the states that observe it."""
    sunday = easter(year)
    everywhere, some, few = list(range(STATES)), list(range(0, STATES, 2)), [0, 1, 2]
    return [
        (date(year, 1, 1), "a", everywhere),
        (date(year, 1, 6), "a", few),
        (sunday - timedelta(days=2), "b", everywhere),
        (sunday + timedelta(days=1), "b", everywhere),
        (date(year, 5, 1), "a", everywhere),
        (sunday + timedelta(days=39), "a", everywhere),
        (sunday + timedelta(days=50), "a", everywhere),
        (sunday + timedelta(days=60), "a", some),
        (date(year, 10, 3), "a", everywhere),
        (date(year, 11, 1), "a", some),
        (date(year, 12, 25), "c", everywhere),
        (date(year, 12, 26), "c", everywhere),
    ]


def school_holidays(year: int) -> list[tuple[date, date, list[int]]]:
    """Return a year's school holidays: first day, last day, states."""
    sunday = easter(year)
    everywhere = list(range(STATES))
    periods = [
        (date(year, 12, 22), date(year + 1, 1, 3), everywhere),
        (sunday - timedelta(days=6), sunday + timedelta(days=8), everywhere),
    ]
    for state in range(STATES):
        # The states stagger their six weeks of summer holidays.
        summer = date(year, 6, 22) + timedelta(days=4 * state)
        autumn = date(year, 10, 5) + timedelta(days=2 * state)
        winter = date(year, 2, 2) + timedelta(days=state)
        periods += [
            (summer, summer + timedelta(days=43), [state]),
            (autumn, autumn + timedelta(days=11), [state]),
            (winter, winter + timedelta(days=6), [state]),
        ]
    return periods
