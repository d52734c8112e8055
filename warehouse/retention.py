"""Deletion of rows past their retention.

This role may not delete by itself. It calls functions that belong to the owner of the schema; they
live in `migrations/versions`.
"""

from warehouse.connection import Transaction


def remove_superseded_events(transaction: Transaction, days: int) -> int:
    """Delete superseded events of old days; return how many.

    Args:
        transaction: The open transaction.
        days: Retention in days, at least 366.
    """
    return int(transaction.value("SELECT sales.remove_superseded_events($1::int4)", (days,)))


def remove_old_origins(transaction: Transaction, days: int) -> int:
    """Delete issued forecasts from old origins; return how many rows.

    A store's newest origin is always kept.

    Args:
        transaction: The open transaction.
        days: Retention in days, at least 366.
    """
    return int(transaction.value("SELECT sales.remove_old_origins($1::int4)", (days,)))
