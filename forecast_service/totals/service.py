"""Reads totals. They and their intervals come from joint paths: quantiles do not add up."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from forecast_service.formats import Format, file_bytes
from forecast_service.pages import FIRST_DAY, MAX_FILE_ROWS, MAX_STORE, encode_key, refuse_too_many
from forecast_service.problems import invalid
from forecast_service.state import State
from forecast_service.totals.schemas import Grain, Level
from warehouse import accuracy
from warehouse import totals as against
from warehouse.connection import Transaction
from warehouse.errors import NotFoundError, NotYetError
from warehouse.in_force import NOTHING_YET
from warehouse.service import totals as statements

#: Newest days whose totals are held against sales.
COVERAGE_DAYS = 28
_LISTED = 5


@dataclass(frozen=True)
class TotalSelection:
    """The totals that a request asks for.

    Attributes:
        level: Whose sales are summed.
        members: Members of the level; all of them if empty.
        grain: Over which days.
        first: Totals that end before it are left out.
        last: Totals that begin after it are left out.
        after: Member and first day of the last row of the page before.
        limit: Most rows.
        as_of: The origin to go back to; None for the totals in force.
    """

    level: Level
    members: Sequence[str]
    grain: Grain
    first: date
    last: date
    after: tuple[str, date] = ("", FIRST_DAY)
    limit: int = MAX_FILE_ROWS
    as_of: date | None = None


async def totals_page(state: State, selection: TotalSelection) -> dict[str, Any]:
    """Return a page of totals.

    Raises:
        NotFoundError: There is no such member or total.
        ServiceError: Days of single stores are asked for.
    """
    rows = await state.database.rows(*await _statement(state, selection))
    more, rows = len(rows) > selection.limit, rows[: selection.limit]
    if not rows and not selection.after[0]:
        await _explain_nothing(state, selection)
    return {
        "items": rows,
        "next": encode_key(rows[-1]["member"], rows[-1]["first_day"]) if more else None,
    }


async def totals_file(state: State, selection: TotalSelection, kind: Format) -> bytes:
    """Return totals as a file.

    Raises:
        NotFoundError: There is no such member.
        ServiceError: Days of single stores are asked for, or there are too many rows.
    """
    statement, parameters = await _statement(state, selection)

    def work(transaction: Transaction) -> bytes:
        table = transaction.arrow(statement, parameters)
        refuse_too_many(table.num_rows)
        return file_bytes(table, kind)

    return await state.database.compute(work)


async def coverage(state: State) -> list[dict[str, Any]]:
    """Return how many recent totals of the chain and its groups lay inside their ranges.

    Returns:
        Rows with grain, totals, last_days (distinct), inside_80 and inside_95; none until sales
        have come.
    """

    def work(transaction: Transaction) -> list[dict[str, Any]]:
        newest = accuracy.newest_day(transaction)
        if newest is None:
            return []
        since = newest - timedelta(days=COVERAGE_DAYS - 1)
        return against.against_sales(transaction, since)

    rows = [row for row in await state.database.compute(work) if row["level"] != Level.STORE]
    sums = ("totals", "inside_80", "inside_95")
    return [
        {
            "grain": grain.value,
            "last_days": max(row["last_days"] for row in some),
            **{name: sum(row[name] for row in some) for name in sums},
        }
        for grain in Grain
        if (some := [row for row in rows if row["grain"] == grain])
    ]


async def _statement(state: State, selection: TotalSelection) -> tuple[str, tuple[Any, ...]]:
    if selection.level is Level.STORE and selection.grain is Grain.DAY:
        raise invalid(
            "query.grain", "the days of single stores are at /v1/forecasts; ask for `week` here"
        )
    members = await _known_members(state, selection.level, selection.members)
    member, day = selection.after
    number = 0
    if selection.level is Level.STORE and member.isdecimal():
        # A cursor that somebody made up may hold any number.
        number = min(int(member), MAX_STORE)
    parameters = (
        *(selection.level.value, members, selection.grain.value, selection.first, selection.last),
        # One row more shows whether there is another page.
        *(number, member, day, selection.limit + 1),
    )
    if selection.as_of is None:
        return statements.TOTALS, parameters
    return statements.TOTALS_AS_OF, (*parameters, selection.as_of)


async def _known_members(state: State, level: Level, asked: Sequence[str]) -> list[str]:
    rows = await state.database.rows(statements.MEMBERS, (level.value,))
    known = {row["member"] for row in rows}
    if not known:
        raise NotYetError("the sales database has no stores yet")
    unknown = sorted(set(asked) - known)
    if unknown:
        some = ", ".join(sorted(known)[:_LISTED]) + (" …" if len(known) > _LISTED else "")
        named = ", ".join(unknown[:_LISTED]) + (" …" if len(unknown) > _LISTED else "")
        raise NotFoundError(f"no such {level.value.replace('_', ' ')}: {named}; there are {some}")
    return sorted(asked or known)


async def _explain_nothing(state: State, selection: TotalSelection) -> None:
    """Raise the reason why there is no total at all; return if only the days are missing."""
    anything = TotalSelection(
        *(selection.level, selection.members, selection.grain, FIRST_DAY, date.max),
        as_of=selection.as_of,
    )
    rows = await state.database.rows(*await _statement(state, anything))
    if rows:
        first, last = rows[0]["first_day"], rows[-1]["last_day"]
        raise NotFoundError(f"the totals cover {first} to {last}, and none of the days asked for")
    if selection.as_of is not None:
        raise NotFoundError(
            f"no total from {selection.as_of} or before: totals are issued with each refresh"
        )
    raise NotYetError(f"no total yet; {NOTHING_YET}")
