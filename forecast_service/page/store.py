"""`/stores/{store}`: one store's history, forecast, plan, adjustments and comments.

What takes longer has an address of its own, which the page's script loads into it: why a number is
what it is, and what has changed.
"""

import asyncio
from datetime import timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request
from starlette.responses import Response

from forecast_service.access import Reader
from forecast_service.accuracy import service as accuracy
from forecast_service.adjustments import service as adjustments
from forecast_service.adjustments.schemas import Reason
from forecast_service.forecasts import service as forecasts
from forecast_service.formats import Shape
from forecast_service.page import sentences
from forecast_service.page.explanation import steps
from forecast_service.page.rendering import PageRoute, render
from forecast_service.page.store_days import HOLIDAYS, future_days, past_days
from forecast_service.pages import LAST_DAY, MAX_PAGE_ROWS, Day, Store
from forecast_service.scenarios import service as scenarios
from forecast_service.state import State, state_of
from forecast_service.traces import service as traces
from warehouse.errors import NotFoundError
from warehouse.service.judged import JUDGED

router = APIRouter(prefix="/stores/{store}", route_class=PageRoute, include_in_schema=False)

Weeks = Annotated[int, Query(ge=1, le=104, description="Weeks of history.")]
Lead = Annotated[int, Query(ge=1, le=366, description="Days ahead of past forecasts.")]
StorePath = Annotated[Store, Path()]
WEEKS = 8
#: Days ahead of which past forecasts can be laid over the sales by a link.
LEADS = (1, 7, 14, 28)
#: Days of which the accuracy's sentence speaks.
JUDGED_DAYS = 28
#: The errors that bars compare.
_ERRORS = ("wape", "naive_wape")
#: Most adjustments and comments to show.
MAX_NOTES = 200


@router.get("")
async def store_page(
    request: Request, client: Reader, store: StorePath, weeks: Weeks = WEEKS, lead: Lead = LEADS[1]
) -> Response:
    """Show a store."""
    state = state_of(request)
    # First, so that an unknown store is said to be one.
    (attributes,) = await _attributes(state, store)
    selection = forecasts.Selection(
        [store], *forecasts.ordered_days(None, None), limit=MAX_PAGE_ROWS
    )
    page, plan, judged = await asyncio.gather(
        forecasts.forecasts_page(state, selection, Shape.OWN),
        scenarios.plan_in_force(state, [store]),
        _accuracy(state, store),
    )
    rows = page["items"]
    origin = rows[0]["origin"]
    first = origin - timedelta(days=7 * weeks - 1)
    noted = ([store], (first, LAST_DAY))
    past = forecasts.Selection([store], first, origin, limit=MAX_PAGE_ROWS)
    history, expected, adjusted, listed, comments = await asyncio.gather(
        forecasts.history_page(state, past),
        forecasts.past_forecasts(state, [store], first, origin, lead),
        adjustments.adjusted_days(state, *noted),
        adjustments.listed(state, *noted, only_in_force=False, limit=MAX_NOTES),
        adjustments.comments(state, *noted, limit=MAX_NOTES),
    )
    future = future_days(rows, plan, adjusted, comments)
    past_rows = past_days(history["items"], expected, comments)
    week = [day.forecast["mean"] for day in future[:7] if day.forecast]
    leads = judged["items"] if judged else []
    return await render(
        request,
        "store.html",
        store=attributes,
        year=origin.year,
        weeks=weeks,
        lead=lead,
        leads=LEADS,
        origin=origin,
        model_version=rows[0]["model_version"],
        past=past_rows,
        future=future,
        week_total=sum(week),
        accuracy=sentences.accuracy(judged) if judged else sentences.NOTHING_JUDGED,
        judged=leads,
        largest_error=max((row[name] or 0 for row in leads for name in _ERRORS), default=0) or 1,
        adjustments=[row for row in listed if row["state"] != "withdrawal"],
        holidays=HOLIDAYS,
        reasons=[reason.value for reason in Reason],
        data={
            "store": store,
            "lead": lead,
            "origin": origin.isoformat(),
            "past": [day.charted() for day in past_rows],
            "future": [day.charted() for day in future],
        },
    )


@router.get("/why")
async def why(
    request: Request,
    client: Reader,
    store: StorePath,
    day: Annotated[Day | None, Query()] = None,
) -> Response:
    """Say why the forecast of a day is what it is."""
    state = state_of(request)
    trace = await traces.trace(state, store, day, None, 7)
    usual, forecast = trace["usual"], trace["forecast"]
    explained = None
    if usual is not None and trace["open"]:
        plan = {row["date"]: row for row in await scenarios.plan_in_force(state, [store])}
        explained = steps(usual, trace["parts"], forecast["point"], plan.get(trace["date"]))
    year = trace["origin"].year
    return await render(request, "why.html", store=store, year=year, trace=trace, steps=explained)


@router.get("/changes")
async def changes(
    request: Request,
    client: Reader,
    store: StorePath,
    days: Annotated[int, Query(ge=1, le=366)] = 1,
) -> Response:
    """Say what changed since an earlier forecast, and why."""
    change = None
    problem = ""
    try:
        listed = await forecasts.changes(state_of(request), [store], days)
        change = listed[0] if listed else None
    except NotFoundError:
        await forecasts.known_stores(state_of(request), [store])
        problem = (
            f"There is no forecast from {days} days or more before the one in force."
            if days > 1
            else "There is no forecast from an earlier day to compare the one in force with."
        )
    return await render(
        request,
        "changes.html",
        store=store,
        days=days,
        **({"year": change["origin"].year} if change else {}),
        change=change,
        problem=problem,
        said=sentences.changed(change) if change else "",
        causes=sentences.CAUSES,
    )


async def _attributes(state: State, store: int) -> list[dict[str, Any]]:
    """Return the only row about a store."""
    page = await forecasts.stores_page(state, store - 1, 1)
    rows = [row for row in page["items"] if row["store"] == store]
    if not rows:
        raise NotFoundError(f"There is no store {store}. The page of stores lists them.")
    return rows


async def _accuracy(state: State, store: int) -> dict[str, Any] | None:
    """Return how good the store's forecasts were; None if none has met its day.

    Each item has `judged`, the days with sales that it measures.
    """
    try:
        report = await accuracy.by_lead(state, [store], JUDGED_DAYS)
    except NotFoundError:
        return None
    span = (report["kind"], store, report["first_day"], report["last_day"])
    judged = {row["lead_week"]: row for row in await state.database.rows(JUDGED, span)}
    for item in report["items"]:
        item["judged"] = judged.get(item["lead_week"])
    return report
