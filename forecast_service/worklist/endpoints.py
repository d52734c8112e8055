"""`/v1/worklist`."""

from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from forecast_service.access import Reader
from forecast_service.formats import (
    FILE_CONTENT,
    NOT_MODIFIED,
    Format,
    cache_headers,
    etag_of,
    file_response,
    json_response,
    not_modified,
)
from forecast_service.pages import PAGE_ROWS, Cursor, Limit, Stores, decode_rank
from forecast_service.state import state_of
from forecast_service.worklist import schemas, service
from forecast_service.worklist.rules import Code

router = APIRouter(prefix="/v1", tags=["worklist"])


@router.get(
    "/worklist",
    response_model=schemas.Worklist,
    responses={200: {"content": FILE_CONTENT}, **NOT_MODIFIED},
)
async def worklist(
    request: Request,
    client: Reader,
    store: Stores = [],  # noqa: B006 - FastAPI copies it
    reason: Annotated[
        list[Code],
        Query(
            max_length=len(Code),
            description="Only stores with this reason; may be given again. By default any.",
        ),
    ] = [],  # noqa: B006 - FastAPI copies it
    format: Annotated[Format, Query(description="Files are not paged.")] = Format.JSON,
    limit: Limit = PAGE_ROWS,
    cursor: Cursor = None,
) -> Response:
    """Rank the stores that need a person today, with the reasons in words and the sales at stake.

    Each reason says how much of the sales it puts in question, and their sum makes the rank.
    """
    state = state_of(request)
    after = decode_rank(cursor)
    ranking = await service.current(state)
    etag = etag_of(ranking.version, request.url.query)
    if (unchanged := not_modified(request, etag)) is not None:
        return unchanged
    if format is Format.JSON:
        page = service.page(ranking, reason, store, after, limit)
        return json_response(page, cache_headers(etag))
    body = service.as_file(ranking.matching(reason, store), format)
    return file_response(body, format, "worklist", cache_headers(etag))
