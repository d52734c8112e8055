"""Removes what the settings do not keep, by the functions that the schema's owner allows for it."""

from warehouse.connection import Transaction


def remove_superseded_events(transaction: Transaction, days: int) -> int:
    """Removes events of days longer ago that a later event corrected; returns how many."""
    return int(transaction.value("SELECT sales.remove_superseded_events($1::int4)", (days,)))


def remove_old_origins(transaction: Transaction, days: int) -> int:
    """Removes issued forecasts from origins longer ago; returns how many rows.

    A store's newest origin always stays.
    """
    return int(transaction.value("SELECT sales.remove_old_origins($1::int4)", (days,)))
