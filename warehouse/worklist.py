"""What the worklist's rules look at: facts about all stores.

They are read in two halves, which two connections can read at once.

The statements are in `service/worklist.py`, the rules in `forecast_service/worklist/rules.py`.
"""

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any

from warehouse import changes, health
from warehouse.connection import Transaction
from warehouse.errors import NotYetError
from warehouse.in_force import NOTHING_YET
from warehouse.service import worklist as statements

#: Days back to the oldest unusual sales that are told.
UNUSUAL_DAYS = 14

Row = dict[str, Any]


@dataclass(frozen=True)
class StoreFacts:
    """What is known about one store; the keys are the columns of the statements.

    Attributes:
        ahead: The forecast of the next days.
        accuracy: How good forecasts were; None if none has met its day.
        missing: Days that have not come; None if there is none.
        moves: How the forecast moved, by step back in time.
        unseen: Planned days of kinds that the store has never had.
        adjustments: Adjustments that have expired or soon will.
        unusual: Unconfirmed sales of an unusual size.
        overdue: The change that waits; None if there is none.
    """

    ahead: Row
    accuracy: Row | None = None
    missing: Row | None = None
    moves: list[Row] = field(default_factory=list)
    unseen: list[Row] = field(default_factory=list)
    adjustments: list[Row] = field(default_factory=list)
    unusual: list[Row] = field(default_factory=list)
    overdue: Row | None = None


def today(transaction: Transaction) -> date:
    """Return the newest origin that a refresh has written.

    Raises:
        NotYetError: There is none yet.
    """
    newest: date | None = transaction.value(statements.NEWEST_ORIGIN)
    if newest is None:
        raise NotYetError(NOTHING_YET)
    return newest


@dataclass(frozen=True)
class Plans:
    """Facts about days to come, by store."""

    ahead: dict[int, Row]
    unseen: dict[int, list[Row]]
    adjustments: dict[int, list[Row]]
    overdue: dict[int, Row]


@dataclass(frozen=True)
class Past:
    """Facts about days that have come, and about earlier forecasts, by store."""

    accuracy: dict[int, Row]
    missing: dict[int, Row]
    moves: dict[int, list[Row]]
    unusual: dict[int, list[Row]]


def plans(transaction: Transaction, newest: date, max_open_minutes: float) -> Plans:
    """Read what lies ahead of every store that is not retired.

    Args:
        transaction: The open transaction of a role that may read.
        newest: The newest origin.
        max_open_minutes: How long a change may wait for its refresh.
    """
    return Plans(
        _one_each(transaction.rows(statements.AHEAD)),
        _some_each(transaction.rows(statements.UNSEEN, (newest,))),
        _some_each(transaction.rows(statements.ADJUSTMENTS, (newest,))),
        _one_each(changes.overdue(transaction, max_open_minutes)),
    )


def past(transaction: Transaction, newest: date) -> Past:
    """Read what became of every store's earlier forecasts."""
    since = newest - timedelta(days=UNUSUAL_DAYS)
    return Past(
        _one_each(transaction.rows(statements.ACCURACY, (newest,))),
        _one_each(transaction.rows(statements.MISSING, (newest,))),
        _some_each(transaction.rows(statements.MOVES_BY_STORE, (newest,))),
        _some_each(health.unusual_sales(transaction, since)),
    )


def by_store(ahead: Plans, behind: Past) -> list[StoreFacts]:
    """Join the facts of each store that has a forecast."""
    return [
        StoreFacts(
            ahead=row,
            accuracy=behind.accuracy.get(store),
            missing=behind.missing.get(store),
            moves=behind.moves.get(store, []),
            unseen=ahead.unseen.get(store, []),
            adjustments=ahead.adjustments.get(store, []),
            unusual=behind.unusual.get(store, []),
            overdue=ahead.overdue.get(store),
        )
        for store, row in ahead.ahead.items()
    ]


def _one_each(rows: list[Row]) -> dict[int, Row]:
    return {row["store"]: row for row in rows}


def _some_each(rows: list[Row]) -> dict[int, list[Row]]:
    grouped: dict[int, list[Row]] = defaultdict(list)
    for row in rows:
        grouped[row["store"]].append(row)
    return grouped
