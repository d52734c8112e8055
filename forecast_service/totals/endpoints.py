"""`/v1/totals`."""

from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from forecast_service.access import Reader
from forecast_service.forecasts.endpoints import From, To
from forecast_service.forecasts.service import etag_of_version, forecasts_version, ordered_days
from forecast_service.formats import (
    FILE_CONTENT,
    NOT_MODIFIED,
    Format,
    cache_headers,
    etag_of,
    file_response,
    hashed_json,
    json_response,
    not_modified,
)
from forecast_service.pages import PAGE_ROWS, Cursor, Day, Limit, Line, decode_member
from forecast_service.state import state_of
from forecast_service.totals import schemas, service

router = APIRouter(prefix="/v1", tags=["forecasts"])

#: Most members that one request may name: an address of more than 64 kB is refused unread.
MAX_MEMBERS = 200


@router.get(
    "/totals",
    response_model=schemas.TotalPage,
    responses={200: {"content": FILE_CONTENT}, **NOT_MODIFIED},
)
async def totals(
    request: Request,
    client: Reader,
    level: Annotated[schemas.Level, Query(description="Whose sales.")] = schemas.Level.CHAIN,
    member: Annotated[
        list[Line],
        Query(
            max_length=MAX_MEMBERS,
            description="A store's number, store type or assortment; may be given again. By "
            "default all of the level.",
        ),
    ] = [],  # noqa: B006 - FastAPI copies it
    grain: Annotated[
        schemas.Grain, Query(description="Days or weeks; of single stores only weeks.")
    ] = schemas.Grain.WEEK,
    first: From = None,
    last: To = None,
    as_of: Annotated[
        Day | None,
        Query(description="An origin: what was in force then. By default what is in force now."),
    ] = None,
    format: Annotated[Format, Query(description="Files are not paged.")] = Format.JSON,
    limit: Limit = PAGE_ROWS,
    cursor: Cursor = None,
) -> Response:
    """Return what the chain, groups of stores and stores sell in sum, with the sums' quantiles.

    A day's or week's total is returned if the span asked for touches it.
    """
    state = state_of(request)
    days = ordered_days(first, last)
    etag = None
    if as_of is None:
        # Before the rows: rows that are newer than their ETag are fetched again, not kept.
        version = await forecasts_version(state)
        etag = etag_of_version(version, f"{request.url.path}?{request.url.query}")
        if (unchanged := not_modified(request, etag)) is not None:
            return unchanged
    asked = (level, member, grain, *days)
    if format is Format.JSON:
        selection = service.TotalSelection(*asked, decode_member(cursor), limit, as_of)
        page = await service.totals_page(state, selection)
        return json_response(page, cache_headers(etag)) if etag else hashed_json(request, page)
    body = await service.totals_file(state, service.TotalSelection(*asked, as_of=as_of), format)
    return file_response(body, format, "totals", cache_headers(etag or etag_of(body)))
