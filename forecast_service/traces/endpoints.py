"""`/v1/traces`."""

from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from forecast_service.access import Reader
from forecast_service.formats import hashed_json
from forecast_service.pages import Day, Store
from forecast_service.state import state_of
from forecast_service.traces import schemas, service

router = APIRouter(prefix="/v1", tags=["traces"])


@router.get("/traces", response_model=schemas.Trace)
async def traces(
    request: Request,
    client: Reader,
    store: Annotated[Store, Query()],
    date: Annotated[
        Day | None, Query(description="The day; by default the first open one.")
    ] = None,
    origin: Annotated[Day | None, Query(description="By default the newest.")] = None,
    days: Annotated[int, Query(ge=1, le=90, description="Days of sales to list.")] = 28,
) -> Response:
    """Say where a forecast came from: model, effects, and the sales that it saw."""
    content = await service.trace(state_of(request), store, date, origin, days)
    return hashed_json(request, content)
