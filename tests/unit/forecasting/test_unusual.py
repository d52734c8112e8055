"""Which sales count as unusual, held against a naive computation."""

from datetime import date

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from forecasting.unusual import MIN_USUAL_DAYS, USUAL_DAYS, unusual_sales

FIRST = pd.Timestamp(2015, 1, 1)


def panel(sales: list[float], store: int = 1, opened: list[int] | None = None) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "store": store,
            "date": pd.date_range(FIRST, periods=len(sales)),
            "sales": sales,
            "open": opened or 1,
        }
    )


def judged(days: pd.DataFrame, factor: float = 8.0) -> list[bool]:
    return unusual_sales(days, factor, start=FIRST.date(), end=days["date"].max().date()).tolist()


@pytest.mark.parametrize("factor", [100, 10, 1 / 10, 1 / 100])
def test_a_typing_error_is_unusual_in_both_directions(factor: float) -> None:
    days = panel([5_000.0] * 30 + [5_000 * factor] + [5_000.0] * 10)
    assert np.flatnonzero(judged(days)).tolist() == [30]


def test_promos_seasons_and_closed_days_are_usual() -> None:
    sales = [5_000.0, 9_000.0, 12_000.0, 0.0, np.nan] * 20
    assert not any(judged(panel(sales, opened=[1, 1, 1, 0, 1] * 20)))


def test_without_enough_history_nothing_is_unusual() -> None:
    few = panel([5_000.0] * (MIN_USUAL_DAYS - 1) + [500_000.0])
    assert not any(judged(few))
    assert judged(panel([5_000.0] * MIN_USUAL_DAYS + [500_000.0]))[-1]
    assert not any(judged(panel([np.nan, 0.0])))


@given(st.lists(st.sampled_from([0.0, 10.0, 50.0, 100.0, 9_000.0]), min_size=1, max_size=90))
def test_the_usual_size_is_the_median_of_the_open_days_before(sales: list[float]) -> None:
    other = panel([77.0] * 5, store=2)
    days = pd.concat([panel(sales), other], ignore_index=True)
    expected = []
    for number, value in enumerate(sales):
        before = [v for v in sales[max(0, number - USUAL_DAYS) : number] if v > 0]
        usual = np.median(np.log(before)) if len(before) >= MIN_USUAL_DAYS else np.nan
        expected.append(value > 0 and bool(abs(np.log(value or 1) - usual) > np.log(8)))
    shuffled = days.sample(frac=1, random_state=1)
    found = unusual_sales(shuffled, 8.0, start=FIRST.date(), end=date(2016, 1, 1))
    by_row = pd.Series(found, index=shuffled.index).sort_index()
    assert by_row.tolist() == [*expected, *[False] * len(other)]
