"""Deletion of rows past their retention.

The database functions that delete belong to the owner of the schema; this role may only call them.
"""

from warehouse.connection import Transaction


def remove_superseded_events(transaction: Transaction, days: int) -> int:
    """Delete corrected events of days before the retention; return how many."""
    return int(transaction.value("SELECT sales.remove_superseded_events($1::int4)", (days,)))


def remove_old_origins(transaction: Transaction, days: int) -> int:
    """Delete issued forecasts from origins before the retention; return how many rows.

    A store's newest origin is always kept.
    """
    return int(transaction.value("SELECT sales.remove_old_origins($1::int4)", (days,)))
