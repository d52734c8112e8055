"""`/v1/adjustments` and `/v1/comments`."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from forecast_service.access import Planner, Reader
from forecast_service.adjustments import schemas, service
from forecast_service.forecasts.endpoints import From, To
from forecast_service.forecasts.service import ordered_days
from forecast_service.formats import hashed_json, json_response
from forecast_service.jobs import IdempotencyKey
from forecast_service.pages import PAGE_ROWS, Limit, Stores
from forecast_service.state import state_of

router = APIRouter(prefix="/v1", tags=["adjustments"])


@router.post("/adjustments", status_code=201, response_model=schemas.Adjustment)
async def add(
    request: Request,
    client: Planner,
    asked: schemas.NewAdjustment,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Put a planner's own number beside the model's."""
    state = state_of(request)
    return _created(await service.add(state, asked, client.name, idempotency_key))


@router.post(
    "/adjustments/{adjustment_id}/withdrawal", status_code=201, response_model=schemas.Adjustment
)
async def withdraw(
    request: Request, client: Planner, adjustment_id: UUID, asked: schemas.NewWithdrawal
) -> Response:
    """Take an adjustment back; both rows stay."""
    return _created(await service.withdraw(state_of(request), adjustment_id, asked, client.name))


@router.get("/adjustments", response_model=schemas.Adjustments)
async def adjustments(
    request: Request,
    client: Reader,
    store: Stores = [],  # noqa: B006 - FastAPI copies it
    first: From = None,
    last: To = None,
    in_force: Annotated[bool, Query(description="Only what applies now.")] = False,
    limit: Limit = PAGE_ROWS,
) -> Response:
    """List adjustments, the newest first."""
    days = ordered_days(first, last)
    rows = await service.listed(state_of(request), store, days, in_force, limit)
    return hashed_json(request, {"items": rows})


@router.get("/adjustments/days", response_model=schemas.AdjustedDays)
async def adjusted_days(
    request: Request,
    client: Reader,
    store: Stores = [],  # noqa: B006 - FastAPI copies it
    first: From = None,
    last: To = None,
) -> Response:
    """Return the adjusted days of forecasts in force: the model's number and the planner's."""
    days = ordered_days(first, last)
    rows = await service.adjusted_days(state_of(request), store, days)
    return hashed_json(request, {"items": rows})


@router.post("/comments", status_code=201, response_model=schemas.Comment)
async def add_comment(
    request: Request,
    client: Planner,
    asked: schemas.NewComment,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Write something about a day of a store."""
    state = state_of(request)
    return _created(await service.comment(state, asked, client.name, idempotency_key))


@router.get("/comments", response_model=schemas.Comments)
async def comments(
    request: Request,
    client: Reader,
    store: Stores = [],  # noqa: B006 - FastAPI copies it
    first: From = None,
    last: To = None,
    limit: Limit = PAGE_ROWS,
) -> Response:
    """List comments, the newest first."""
    days = ordered_days(first, last)
    rows = await service.comments(state_of(request), store, days, limit)
    return hashed_json(request, {"items": rows})


def _created(content: dict[str, object]) -> Response:
    response = json_response(content)
    response.status_code = 201
    return response
