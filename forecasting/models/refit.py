"""When a store's model is fitted again: once a week each, spread over the chain."""

from datetime import date, timedelta

REFIT_DAYS = 7
"""Days between two fits of a store. Between them forecasts follow new sales by their level only."""


def fit_day(store: int, newest: date, pooled_until: date | None) -> date:
    """The last day that a store's current model has to have seen.

    It depends on the calendar alone, not on which refreshes ran or failed, so that the same sales
    give the same models. Each day is the turn of one store in `REFIT_DAYS`: a day's refresh
    fits a part of the chain, never all of it.

    Args:
        store: The store's number.
        newest: The newest day with sales of the store.
        pooled_until: The last day that the pooled model has seen; a store's model follows it.
    """
    turn = newest - timedelta(days=(newest.toordinal() + store) % REFIT_DAYS)
    return max(turn, pooled_until) if pooled_until is not None else turn
