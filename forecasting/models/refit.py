"""The refit schedule of store models: each store once a week, spread over the chain.

The models are fitted in `store_models.py`.
"""

from datetime import date, timedelta

#: Days between two fits of a store. In between, forecasts follow new sales by their level only.
REFIT_DAYS = 7


def fit_day(store: int, newest: date, pooled_until: date | None) -> date:
    """Return the last day that a store's current model must have seen.

    The day depends on the calendar alone, not on which refreshes ran or failed, so the same sales
    always lead to the same models. One store in `REFIT_DAYS` is due each day, so a day's refresh
    fits only part of the chain. A newer pooled model makes every store due at once.

    Args:
        store: The store's number.
        newest: The newest day with sales of the store.
        pooled_until: Last day that the pooled model has seen. The store's model must have seen it.
    """
    due_day = newest - timedelta(days=(newest.toordinal() + store) % REFIT_DAYS)
    return max(due_day, pooled_until) if pooled_until is not None else due_day
