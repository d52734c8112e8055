"""`/v1/stores`, `/v1/forecasts`, `/v1/history` and `/v1/changes`."""

from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from forecast_service.access import Reader
from forecast_service.forecasts import schemas, service
from forecast_service.formats import (
    FILE_CONTENT,
    NOT_MODIFIED,
    Format,
    Shape,
    cache_headers,
    etag_of,
    file_response,
    hashed_json,
    json_bytes,
    json_response,
    not_modified,
    written_json,
)
from forecast_service.newest import Answer
from forecast_service.pages import (
    PAGE_ROWS,
    Cursor,
    Day,
    Limit,
    Store,
    Stores,
    decode_day,
    decode_store,
)
from forecast_service.state import state_of

router = APIRouter(prefix="/v1", tags=["forecasts"])

#: Most stores whose past forecasts one request may name: each has a row for every day.
MAX_PAST_STORES = 20

From = Annotated[Day | None, Query(alias="from", description="First day.")]
To = Annotated[Day | None, Query(alias="to", description="Last day.")]


@router.get("/stores", response_model=schemas.StorePage, responses=NOT_MODIFIED)
async def stores(
    request: Request, client: Reader, limit: Limit = PAGE_ROWS, cursor: Cursor = None
) -> Response:
    """List the stores of the chain."""
    page = await service.stores_page(state_of(request), decode_store(cursor), limit)
    return hashed_json(request, page)


@router.get(
    "/forecasts",
    response_model=schemas.ForecastPage,
    responses={200: {"content": FILE_CONTENT}, **NOT_MODIFIED},
)
async def forecasts(
    request: Request,
    client: Reader,
    store: Stores = [],  # noqa: B006 - FastAPI copies it
    first: From = None,
    last: To = None,
    as_of: Annotated[
        Day | None,
        Query(
            description="An origin: what was in force then, or the backtest from exactly that "
            "day. By default what is in force now."
        ),
    ] = None,
    format: Annotated[Format, Query(description="Files are not paged.")] = Format.JSON,
    shape: Annotated[Shape, Query(description="How the columns are named.")] = Shape.OWN,
    limit: Limit = PAGE_ROWS,
    cursor: Cursor = None,
) -> Response:
    """Return forecasts: point, mean, quantiles, plan, and the model that made them."""
    state = state_of(request)
    days = service.ordered_days(first, last)
    query, is_file = request.url.query, format is not Format.JSON
    known = None if is_file or as_of is not None else state.forecast_answers.get(query)
    etag = None
    if as_of is None and (is_file or known or "if-none-match" in request.headers):
        # Before the rows: rows that are newer than their ETag are fetched again, not kept.
        version = await service.forecasts_version(state)
        etag = service.etag_of_version(version, query)
        if (unchanged := not_modified(request, etag)) is not None:
            return unchanged
        if known is not None and known.version == version:
            return written_json(known.body, cache_headers(etag))
    if not is_file:
        selection = service.Selection(store, *days, decode_day(cursor), limit, as_of)
        page, version = await service.versioned_forecasts_page(state, selection, shape)
        if version is None:
            return hashed_json(request, page)
        body = json_bytes(page)
        state.forecast_answers.put(query, Answer(version, body))
        return written_json(body, cache_headers(service.etag_of_version(version, query)))
    selection = service.Selection(store, *days, as_of=as_of)
    body = await service.forecasts_file(state, selection, shape, format)
    headers = cache_headers(etag or etag_of(body))
    return file_response(body, format, "forecasts", headers)


@router.get("/forecasts/past", response_model=schemas.PastForecasts, responses=NOT_MODIFIED)
async def past_forecasts(
    request: Request,
    client: Reader,
    store: Annotated[
        list[Store], Query(min_length=1, max_length=MAX_PAST_STORES, description="Stores.")
    ],
    first: From = None,
    last: To = None,
    lead: Annotated[int, Query(ge=1, le=366, description="Days ahead, at least.")] = 7,
) -> Response:
    """Return what was forecast for days, to lay it over what they sold."""
    stores, days = sorted(set(store)), service.ordered_days(first, last)
    rows = await service.past_forecasts(state_of(request), stores, *days, lead)
    return hashed_json(request, {"items": rows})


@router.get(
    "/history",
    response_model=schemas.HistoryPage,
    responses={200: {"content": FILE_CONTENT}, **NOT_MODIFIED},
)
async def history(
    request: Request,
    client: Reader,
    store: Stores = [],  # noqa: B006 - FastAPI copies it
    first: From = None,
    last: To = None,
    format: Annotated[Format, Query(description="Files are not paged.")] = Format.JSON,
    limit: Limit = PAGE_ROWS,
    cursor: Cursor = None,
) -> Response:
    """Return the sales that count, by store and day."""
    state = state_of(request)
    days = service.ordered_days(first, last)
    if format is Format.JSON:
        selection = service.Selection(store, *days, decode_day(cursor), limit)
        return hashed_json(request, await service.history_page(state, selection))
    body = await service.history_file(state, service.Selection(store, *days), format)
    etag = etag_of(body)
    return not_modified(request, etag) or file_response(
        body, format, "history", cache_headers(etag)
    )


@router.get("/changes", response_model=schemas.Changes)
async def changes(
    request: Request,
    client: Reader,
    store: Stores = [],  # noqa: B006 - FastAPI copies it
    days: Annotated[
        int,
        Query(
            ge=1,
            le=366,
            description="How many days the earlier origin lies back, at least: 1 is the last "
            "origin, 7 a week ago.",
        ),
    ] = 1,
) -> Response:
    """Say what changed in the forecasts, and by how much because of plan, sales and model.

    Up to ten stores get the causes; more get the change alone, the largest first.
    """
    return json_response({"items": await service.changes(state_of(request), store, days)})
