from datetime import date
from typing import Any

import pytest

from forecast_assets.planning.calendar import Calendar, Grain


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
def test_a_day_belongs_to_one_period(day: date, grain: Grain, start: date, end: date) -> None:
    calendar = Calendar(grain)
    assert calendar.start_of(day) == start
    assert calendar.end_of(start) == end
    assert start <= day <= end < calendar.next(start)


def test_periods_between_include_both_ends() -> None:
    monthly = Calendar("monthly")
    months = list(monthly.periods_between(date(2014, 11, 30), date(2015, 2, 1)))
    assert months == [date(2014, 11, 1), date(2014, 12, 1), date(2015, 1, 1), date(2015, 2, 1)]
    assert len(list(monthly.periods_between(date(2013, 1, 1), date(2015, 7, 31)))) == 31


def test_an_unknown_grain_is_refused() -> None:
    yearly: Any = "yearly"
    with pytest.raises(ValueError, match="yearly"):
        Calendar(yearly).start_of(date(2015, 1, 1))
