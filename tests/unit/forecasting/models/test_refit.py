from collections import Counter
from datetime import date, timedelta

from forecasting.models.refit import REFIT_DAYS, fit_day

NEWEST = date(2015, 6, 19)


def test_a_model_is_never_older_than_its_turn() -> None:
    for store in range(1, 50):
        age = (NEWEST - fit_day(store, NEWEST, None)).days
        assert 0 <= age < REFIT_DAYS


def test_each_day_is_the_turn_of_one_store_in_seven() -> None:
    due = Counter(day for store in range(1, 701) if (day := fit_day(store, NEWEST, None)) <= NEWEST)
    assert len(due) == REFIT_DAYS
    assert set(due.values()) == {100}


def test_a_turn_comes_once_and_holds_for_a_week() -> None:
    days = [fit_day(5, NEWEST + timedelta(days=k), None) for k in range(14)]
    assert days == sorted(days)
    assert all(days.count(day) <= REFIT_DAYS for day in days)
    assert len(set(days)) in (2, 3)


def test_a_newer_pooled_model_is_followed() -> None:
    assert fit_day(5, NEWEST, NEWEST) == NEWEST
    assert fit_day(5, NEWEST, date(2014, 1, 1)) == fit_day(5, NEWEST, None)
