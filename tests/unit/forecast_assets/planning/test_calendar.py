from datetime import date

import pytest

from forecast_assets.planning.calendar import (
    count_periods,
    next_period,
    period_end,
    period_start,
    periods_between,
)


@pytest.mark.parametrize(
    ("day", "grain", "start", "end"),
    [
        (date(2015, 2, 28), "monthly", date(2015, 2, 1), date(2015, 2, 28)),
        (date(2016, 2, 29), "monthly", date(2016, 2, 1), date(2016, 2, 29)),
        (date(2015, 12, 31), "monthly", date(2015, 12, 1), date(2015, 12, 31)),
        (date(2015, 6, 19), "weekly", date(2015, 6, 15), date(2015, 6, 21)),
        (date(2015, 6, 21), "weekly", date(2015, 6, 15), date(2015, 6, 21)),
        (date(2015, 6, 19), "daily", date(2015, 6, 19), date(2015, 6, 19)),
    ],
)
def test_a_day_belongs_to_one_period(day: date, grain: str, start: date, end: date) -> None:
    assert period_start(day, grain) == start
    assert period_end(start, grain) == end
    assert start <= day <= end < next_period(start, grain)


def test_periods_between_holds_both_ends() -> None:
    months = list(periods_between(date(2014, 11, 30), date(2015, 2, 1), "monthly"))
    assert months == [date(2014, 11, 1), date(2014, 12, 1), date(2015, 1, 1), date(2015, 2, 1)]
    assert count_periods(date(2013, 1, 1), date(2015, 7, 31), "monthly") == 31


def test_an_unknown_grain_is_refused() -> None:
    with pytest.raises(ValueError, match="yearly"):
        period_start(date(2015, 1, 1), "yearly")
