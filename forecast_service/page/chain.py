"""`/chain`: what the chain sells in the next weeks, in total and by group, and what changed."""

import asyncio
from collections.abc import Awaitable
from datetime import timedelta
from enum import StrEnum
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from forecast_service.access import Reader
from forecast_service.accuracy import service as accuracy
from forecast_service.forecasts import service as forecasts
from forecast_service.page.rendering import PageRoute, render
from forecast_service.pages import FIRST_DAY, LAST_DAY
from forecast_service.state import State, state_of
from forecast_service.totals import service as totals
from forecast_service.totals.schemas import Grain, Level
from warehouse.errors import NotFoundError
from warehouse.health_bounds import MIN_TOTAL_DAYS, USUAL_TOTALS_80

router = APIRouter(route_class=PageRoute, include_in_schema=False)

T = TypeVar("T")
#: Days back to the forecasts that changes are told from, and how many stores are listed.
CHANGE_DAYS, CHANGED_STORES = 7, 10


class By(StrEnum):
    """Which groups the second table shows."""

    STORE_TYPE = "store_type"
    ASSORTMENT = "assortment"


@router.get("/chain")
async def chain(
    request: Request,
    client: Reader,
    grain: Annotated[Grain, Query()] = Grain.WEEK,
    by: Annotated[By, Query()] = By.STORE_TYPE,
) -> Response:
    """Show totals with their ranges, the largest changes, and whether ranges held."""
    state = state_of(request)
    total, groups, changes, held, totals_held = await asyncio.gather(
        _or_none(_totals(state, Level.CHAIN, grain)),
        _or_none(_totals(state, Level(by.value), grain)),
        _or_none(forecasts.largest_changes(state, CHANGE_DAYS, CHANGED_STORES)),
        _or_none(accuracy.coverage(state)),
        totals.coverage(state),
    )
    if total is None:
        return await render(request, "chain.html", total=None)
    return await render(
        request,
        "chain.html",
        total=total,
        year=total[0]["origin"].year,
        members=sorted({row["member"] for row in groups or []}),
        groups=_table(groups or []),
        changes=changes or [],
        change_days=CHANGE_DAYS,
        sentences=[
            *([days_sentence(held)] if held else []),
            *(totals_sentence(row) for row in totals_held),
        ],
        grain=grain.value,
        by=by.value,
    )


def days_sentence(held: dict[str, Any]) -> tuple[str, bool | None]:
    """Say whether the ranges of single stores' days held what they promise, and whether they did.

    Args:
        held: As `accuracy.service.coverage` returns it.
    """
    shares, kept = held["shares"], held["kept"]
    if None in shares.values():
        return "On the last days nothing was sold, so no range can be judged.", None
    known = "Backtests" if held["kind"] == "backtest" else "Forecasts"
    inside = (
        f"{known} of stores’ days with sales: {100 * shares[80]:.1f} % lay in the 80 % range and "
        f"{100 * shares[95]:.1f} % in the 95 % range over {held['days']} "
        f"{'day' if held['days'] == 1 else 'days'}"
    )
    if None in kept.values():
        return f"{inside}, which is too few to judge.", None
    broken = [
        f"the {level} % range is too {'narrow' if shares[level] < level / 100 else 'wide'}"
        for level in (80, 95)
        if not kept[level]
    ]
    return f"{inside}: {' and '.join(broken) or 'as promised'}.", not broken


def totals_sentence(row: dict[str, Any]) -> tuple[str, bool | None]:
    """Say the same of totals of the chain and its groups.

    Args:
        row: A row of `totals.service.coverage`.
    """
    grain, number, share = row["grain"], row["totals"], row["inside_80"] / row["totals"]
    inside = (
        f"Totals of {grain}s of the chain and its groups: {row['inside_80']} of {number:,} "
        f"({100 * share:.1f} %) lay in the 80 % range"
    )
    if row["last_days"] < MIN_TOTAL_DAYS[grain]:
        return f"{inside}, which is too few to judge.", None
    if USUAL_TOTALS_80[0] <= share <= USUAL_TOTALS_80[1]:
        return f"{inside}: as promised.", True
    return f"{inside}: too {'narrow' if share < USUAL_TOTALS_80[0] else 'wide'}.", False


async def _totals(state: State, level: Level, grain: Grain) -> list[dict[str, Any]]:
    selection = totals.TotalSelection(level, (), grain, FIRST_DAY, LAST_DAY)
    rows: list[dict[str, Any]] = (await totals.totals_page(state, selection))["items"]
    for row in rows:
        # A week that the horizon cuts short is not to be compared with whole ones.
        span = row["last_day"] - row["first_day"] + timedelta(days=1)
        row["is_cut"] = grain is Grain.WEEK and span.days < 7
    return rows


def _table(rows: list[dict[str, Any]]) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Return one line per period, with its total by member."""
    lines: dict[Any, tuple[dict[str, Any], dict[str, Any]]] = {}
    for row in sorted(rows, key=lambda row: row["first_day"]):
        lines.setdefault(row["first_day"], (row, {}))[1][row["member"]] = row
    return list(lines.values())


async def _or_none(question: Awaitable[T]) -> T | None:
    """Return an answer; None for what is not there yet."""
    try:
        return await question
    except NotFoundError:
        return None
