"""Deletion of rows past their retention.

The assets' role may not delete these rows itself. It calls functions that belong to the owner of
the schema. The functions live in `migrations/versions/0006_retention.py`.
"""

from warehouse.connection import Transaction


def remove_superseded_events(transaction: Transaction, days: int) -> int:
    """Delete superseded events of old days; return the number of events.

    Args:
        transaction: The open transaction.
        days: Retention in days, at least 366.
    """
    return int(transaction.value("SELECT sales.remove_superseded_events($1::int4)", (days,)))


def remove_old_origins(transaction: Transaction, days: int) -> int:
    """Delete issued forecasts from old origins; return the number of rows.

    A store's newest origin is always kept.

    Args:
        transaction: The open transaction.
        days: Retention in days, at least 366.
    """
    return int(transaction.value("SELECT sales.remove_old_origins($1::int4)", (days,)))
