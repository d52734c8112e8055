"""Reads stores, forecasts, history and changes."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from forecast_service.formats import Format, Shape, etag_of, file_bytes, nixtla_rows, nixtla_table
from forecast_service.pages import (
    FIRST_DAY,
    LAST_DAY,
    MAX_FILE_ROWS,
    encode_cursor,
    refuse_too_many,
)
from forecast_service.problems import invalid
from forecast_service.state import State
from warehouse import forecast_changes
from warehouse.connection import Transaction
from warehouse.errors import NotFoundError, NotYetError
from warehouse.in_force import NOTHING_YET
from warehouse.service import reading

#: Most stores whose changes are split into causes in one request; each takes a tenth of a second.
MAX_SPLIT_STORES = 10
_LISTED = 5


@dataclass(frozen=True)
class Selection:
    """The rows that a request asks for.

    Attributes:
        stores: The stores; all of them if empty.
        first: First day.
        last: Last day.
        after: Store and date of the last row of the page before.
        limit: Most rows.
        as_of: The origin to go back to; None for the forecasts in force.
    """

    stores: Sequence[int]
    first: date
    last: date
    after: tuple[int, date] = (0, FIRST_DAY)
    limit: int = MAX_FILE_ROWS
    as_of: date | None = None


def ordered_days(first: date | None, last: date | None) -> tuple[date, date]:
    """Return a span of days with its defaults.

    Raises:
        ServiceError: It ends before it begins.
    """
    if first is not None and last is not None and last < first:
        raise invalid("query.to", f"{last} lies before `from`, {first}", ge=str(first))
    return first or FIRST_DAY, last or LAST_DAY


async def forecasts_version(state: State) -> str | None:
    """Return the version of the forecasts in force."""
    row = await state.database.row(reading.VERSION)
    return row["version"] if row else None


def etag_of_version(version: str | None, query: str) -> str:
    """Return the ETag of an answer made from a version of the forecasts in force."""
    return etag_of("forecasts", version, query)


async def known_stores(state: State, stores: Sequence[int]) -> list[int]:
    """Return the stores, or all stores of the chain if none is named.

    Raises:
        NotFoundError: There is no such store, or no store at all.
    """
    rows = await state.database.rows(reading.KNOWN_STORES, (list(stores) or None,))
    known = [row["store"] for row in rows]
    unknown = sorted(set(stores) - set(known))
    if unknown:
        listed = ", ".join(map(str, unknown[:_LISTED]))
        raise NotFoundError(
            f"no such store: {listed}{' …' if len(unknown) > _LISTED else ''}; "
            "GET /v1/stores lists them"
        )
    if not known:
        raise NotYetError("the sales database has no stores yet")
    return known


async def stores_page(state: State, after: int, limit: int) -> dict[str, Any]:
    """Return a page of stores."""
    rows = await state.database.rows(reading.STORES, (after, limit + 1))
    more, rows = len(rows) > limit, rows[:limit]
    return {"items": rows, "next": encode_cursor(rows[-1]["store"]) if more else None}


async def forecasts_page(state: State, selection: Selection, shape: Shape) -> dict[str, Any]:
    """Return a page of forecasts.

    Raises:
        NotFoundError: There is no such store or forecast.
    """
    page, _ = await versioned_forecasts_page(state, selection, shape)
    return page


async def versioned_forecasts_page(
    state: State, selection: Selection, shape: Shape
) -> tuple[dict[str, Any], str | None]:
    """Return a page of forecasts in force, and their version unless the page is empty.

    Forecasts of an earlier origin have no version.

    Raises:
        NotFoundError: There is no such store or forecast.
    """
    stores = selection.stores or await known_stores(state, ())
    statement, parameters = _forecast_statement(selection, stores)
    if selection.as_of is None:
        statement = reading.FORECASTS_AND_VERSION
    rows = await state.database.rows(statement, parameters)
    versions = [row.pop("version", None) for row in rows]
    more, rows = len(rows) > selection.limit, rows[: selection.limit]
    if not more and selection.after[0] == 0 and selection.stores:
        await _explain_missing(state, selection, {row["store"] for row in rows})
    elif not rows and selection.after[0] == 0:
        raise NotYetError(NOTHING_YET)
    page = {
        "items": nixtla_rows(rows) if shape is Shape.NIXTLA else rows,
        "next": encode_cursor(rows[-1]["store"], rows[-1]["date"]) if more else None,
    }
    return page, versions[0] if versions else None


async def forecasts_file(state: State, selection: Selection, shape: Shape, kind: Format) -> bytes:
    """Return forecasts as a file.

    Raises:
        ServiceError: There are too many.
        NotFoundError: There is no such store.
    """
    stores = await known_stores(state, selection.stores)
    statement, parameters = _forecast_statement(selection, stores)

    def work(transaction: Transaction) -> bytes:
        table = transaction.arrow(statement, parameters)
        refuse_too_many(table.num_rows)
        return file_bytes(nixtla_table(table) if shape is Shape.NIXTLA else table, kind)

    return await state.database.compute(work)


async def history_page(state: State, selection: Selection) -> dict[str, Any]:
    """Return a page of sales.

    Raises:
        NotFoundError: There is no such store.
    """
    stores = await known_stores(state, selection.stores)
    rows = await state.database.rows(reading.HISTORY, _page_parameters(selection, stores))
    more, rows = len(rows) > selection.limit, rows[: selection.limit]
    return {
        "items": rows,
        "next": encode_cursor(rows[-1]["store"], rows[-1]["date"]) if more else None,
    }


async def history_file(state: State, selection: Selection, kind: Format) -> bytes:
    """Return sales as a file.

    Raises:
        ServiceError: There are too many.
        NotFoundError: There is no such store.
    """
    stores = await known_stores(state, selection.stores)

    def work(transaction: Transaction) -> bytes:
        table = transaction.arrow(reading.HISTORY, _page_parameters(selection, stores))
        refuse_too_many(table.num_rows)
        return file_bytes(table, kind)

    return await state.database.compute(work)


async def past_forecasts(
    state: State, stores: Sequence[int], first: date, last: date, lead: int
) -> list[dict[str, Any]]:
    """Return what was forecast for days, at least some days ahead.

    Raises:
        NotFoundError: There is no such store.
    """
    known = await known_stores(state, stores)
    return await state.database.rows(reading.PAST_FORECASTS, (known, first, last, lead))


async def changes(state: State, stores: Sequence[int], days: int) -> list[dict[str, Any]]:
    """Return what changed in stores' forecasts since an earlier origin."""
    known = await known_stores(state, stores)
    split = None
    if len(known) <= MAX_SPLIT_STORES:
        split = forecast_changes.Split(state.settings.horizon, state.settings.error_measure)
    return await state.database.compute(
        lambda transaction: forecast_changes.changes(transaction, known, days, split)
    )


async def largest_changes(state: State, days: int, limit: int) -> list[dict[str, Any]]:
    """Return the stores whose expected sales changed most since an origin some days ago."""
    known = await known_stores(state, ())
    return await state.database.compute(
        lambda transaction: forecast_changes.largest(
            transaction, known, days, limit, state.settings.horizon
        )
    )


def _forecast_statement(selection: Selection, stores: Sequence[int]) -> tuple[str, tuple[Any, ...]]:
    parameters = _page_parameters(selection, stores)
    if selection.as_of is None:
        return reading.FORECASTS, parameters
    return reading.FORECASTS_AS_OF, (*parameters, selection.as_of)


def _page_parameters(selection: Selection, stores: Sequence[int]) -> tuple[Any, ...]:
    store, day = selection.after
    # One row more shows whether there is another page.
    return (
        [number for number in stores if number >= store],
        selection.first,
        selection.last,
        store,
        day,
        selection.limit + 1,
    )


async def _explain_missing(state: State, selection: Selection, found: set[int]) -> None:
    """Raise the reason why there is nothing of some stores, unless only their days are missing."""
    missing = set(selection.stores) - found
    if not missing:
        return
    await known_stores(state, sorted(missing))
    if found:
        return
    anything = Selection(sorted(missing), FIRST_DAY, LAST_DAY, limit=1, as_of=selection.as_of)
    rows = await state.database.rows(*_forecast_statement(anything, anything.stores))
    if rows:
        first, reach = rows[0]["date"], rows[0]["origin"] + timedelta(days=state.settings.horizon)
        raise NotFoundError(
            f"the forecast of store {rows[0]['store']} covers {first} to {reach}, and none of the "
            "days asked for"
        )
    if selection.as_of is not None:
        raise NotFoundError(f"no forecast from {selection.as_of} of the stores asked for")
    raise NotYetError(f"no forecast yet of the stores asked for; {NOTHING_YET}")
