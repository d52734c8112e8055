"""Stores and reads planners' adjustments and comments; nothing is ever changed or deleted."""

import uuid
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

from psycopg.errors import ForeignKeyViolation, UniqueViolation

from forecast_service.adjustments.schemas import NewAdjustment, NewComment, NewWithdrawal
from forecast_service.forecasts.service import known_stores
from forecast_service.problems import ServiceError, invalid
from forecast_service.state import State
from warehouse.errors import NotFoundError
from warehouse.service import adjustments as statements

#: Makes ids of idempotency keys.
_NAMESPACE = uuid.UUID("5f1d7c0e-6f0b-4d0e-9c53-0a4f2f6b7f51")
_WITHDRAWAL = "withdrawal"
#: How far after the newest sales one may adjust and comment: a plan reaches no further.
REACH = timedelta(days=366)
#: The columns of `statements.INSERT` after the id, in their order.
_COLUMNS = (
    *("store", "first_day", "last_day", "value", "percent", "reason", "note", "author"),
    *("expires_at", "withdraws"),
)


async def add(state: State, asked: NewAdjustment, client: str, key: str | None) -> dict[str, Any]:
    """Store an adjustment, once for an idempotency key.

    Args:
        state: The service's state.
        asked: The adjustment.
        client: The token's name.
        key: The client's idempotency key.

    Raises:
        NotFoundError: There is no such store.
        ServiceError: It has expired already, its days are over or too far ahead, or the key was
            used for another one.
    """
    await known_stores(state, [asked.store])
    identity = _identity(client, key)
    if await state.database.row(statements.ONE, (identity,)) is None:
        _, newest = await _known_span(state, asked.store)
        _refuse_outside("body.first_day", asked.first_day, newest + timedelta(days=1), newest)
        _refuse_outside("body.last_day", asked.last_day or asked.first_day, date.min, newest)
    if asked.expires_at is not None and asked.expires_at <= datetime.now(UTC):
        raise invalid("body.expires_at", "lies in the past: choose a later time")
    wanted = {
        "store": asked.store,
        "first_day": asked.first_day,
        "last_day": asked.last_day or asked.first_day,
        "value": asked.value,
        "percent": asked.percent,
        "reason": asked.reason.value,
        "note": asked.note,
        "author": asked.author or client,
        "expires_at": asked.expires_at,
        "withdraws": None,
    }
    return await _insert(state, identity, wanted)


async def withdraw(
    state: State, adjustment_id: uuid.UUID, asked: NewWithdrawal, client: str
) -> dict[str, Any]:
    """Take an adjustment back by another row.

    Raises:
        NotFoundError: There is no such adjustment.
        ServiceError: It was withdrawn already, or is a withdrawal itself.
    """
    known = await _one(state, adjustment_id)
    if known["state"] == _WITHDRAWAL:
        raise ServiceError(409, "this is a withdrawal; make a new adjustment instead")
    wanted = {
        **{name: known[name] for name in ("store", "first_day", "last_day", "reason")},
        **dict.fromkeys(("value", "percent", "expires_at")),
        "note": asked.note,
        "author": asked.author or client,
        "withdraws": adjustment_id,
    }
    try:
        return await _insert(state, uuid.uuid4(), wanted)
    except UniqueViolation:
        raise ServiceError(409, "this adjustment was withdrawn already") from None


async def listed(
    state: State, stores: Sequence[int], days: tuple[date, date], only_in_force: bool, limit: int
) -> list[dict[str, Any]]:
    """Return adjustments, the newest first."""
    return await state.database.rows(
        statements.LISTED, (list(stores) or None, *days, only_in_force, limit)
    )


async def adjusted_days(
    state: State, stores: Sequence[int], days: tuple[date, date]
) -> list[dict[str, Any]]:
    """Return the adjusted days of forecasts in force, the model's number beside the planner's."""
    known = await known_stores(state, stores)
    return await state.database.rows(statements.DAYS, (known, *days))


async def comment(state: State, asked: NewComment, client: str, key: str | None) -> dict[str, Any]:
    """Store a comment on a day of a store, once for an idempotency key.

    Raises:
        NotFoundError: There is no such store.
        ServiceError: The day lies before its first sales, or too far ahead.
    """
    await known_stores(state, [asked.store])
    first, newest = await _known_span(state, asked.store)
    _refuse_outside("body.date", asked.date, first, newest)
    identity, author = _identity(client, key), asked.author or client
    try:
        await state.database.insert_as_planner(
            statements.INSERT_COMMENT, (identity, asked.store, asked.date, asked.text, author)
        )
    except UniqueViolation:
        if key is None:
            raise
    return {
        "comment_id": identity,
        "store": asked.store,
        "date": asked.date,
        "text": asked.text,
        "author": author,
    }


async def comments(
    state: State, stores: Sequence[int], days: tuple[date, date], limit: int
) -> list[dict[str, Any]]:
    """Return comments, the newest first."""
    known = await known_stores(state, stores)
    return await state.database.rows(statements.COMMENTS, (known, *days, limit))


async def _known_span(state: State, store: int) -> tuple[date, date]:
    """Return the first and the newest day of a store's sales; yesterday if it has none."""
    row = await state.database.row(statements.KNOWN_SPAN, (store,))
    if row is None or row["last"] is None:
        yesterday = datetime.now(UTC).date() - timedelta(days=1)
        return yesterday, yesterday
    return row["first"], row["last"]


def _refuse_outside(field: str, day: date, first: date, newest: date) -> None:
    """Refuse a day that no page would show again.

    Raises:
        ServiceError: It lies before the first day, or more than a year after the newest sales.
    """
    last = newest + REACH
    if day < first:
        raise invalid(field, f"lies before {first}, the first day that it may be", ge=str(first))
    if day > last:
        raise invalid(field, f"lies after {last}, a year after the newest sales", le=str(last))


async def _insert(state: State, identity: uuid.UUID, wanted: dict[str, Any]) -> dict[str, Any]:
    try:
        await state.database.insert_as_planner(
            statements.INSERT, (identity, *(wanted[name] for name in _COLUMNS))
        )
    except UniqueViolation as error:
        known = await state.database.row(statements.ONE, (identity,))
        if known is None:
            raise
        if any(known[name] != value for name, value in wanted.items()):
            raise ServiceError(
                409, "this Idempotency-Key was used for another adjustment; choose a new one"
            ) from error
    except ForeignKeyViolation:
        raise NotFoundError("there is no such adjustment") from None
    return await _one(state, identity)


async def _one(state: State, adjustment_id: uuid.UUID) -> dict[str, Any]:
    row = await state.database.row(statements.ONE, (adjustment_id,))
    if row is None:
        raise NotFoundError(f"there is no adjustment {adjustment_id}")
    return row


def _identity(client: str, key: str | None) -> uuid.UUID:
    return uuid.uuid5(_NAMESPACE, f"{client}\0{key}") if key else uuid.uuid4()
