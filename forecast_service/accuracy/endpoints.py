"""`/v1/accuracy` and `/v1/accuracy/value-added`."""

from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from forecast_service.access import Reader
from forecast_service.accuracy import schemas, service
from forecast_service.forecasts.endpoints import From, To
from forecast_service.forecasts.service import known_stores, ordered_days
from forecast_service.formats import hashed_json
from forecast_service.pages import Line, Stores
from forecast_service.state import state_of

router = APIRouter(prefix="/v1/accuracy", tags=["accuracy"])


@router.get("", response_model=schemas.AccuracyReport)
async def accuracy(
    request: Request,
    client: Reader,
    store: Stores = [],  # noqa: B006 - FastAPI copies it
    days: Annotated[int, Query(ge=1, le=366, description="How many of the newest days.")] = 28,
) -> Response:
    """Say how good forecasts were, by lead time; up to 50 stores beside the seasonal naive."""
    state = state_of(request)
    if store:
        await known_stores(state, store)
    return hashed_json(request, await service.by_lead(state, store, days))


@router.get("/value-added", response_model=schemas.ValueAddedReport)
async def value_added(
    request: Request,
    client: Reader,
    store: Stores = [],  # noqa: B006 - FastAPI copies it
    first: From = None,
    last: To = None,
    author: Annotated[Line | None, Query(description="One planner; by default all.")] = None,
) -> Response:
    """Say what planners' adjustments were worth: the error of naive, model and adjusted."""
    state = state_of(request)
    if store:
        await known_stores(state, store)
    days = ordered_days(first, last)
    return hashed_json(request, await service.value_added(state, store, author, *days))
