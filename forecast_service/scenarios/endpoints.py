"""`/v1/scenarios` and `/v1/plans`."""

from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from forecast_service.access import Planner, Reader
from forecast_service.formats import hashed_json, json_response
from forecast_service.jobs import IdempotencyKey, Job
from forecast_service.pages import Store
from forecast_service.scenarios import plans, schemas, service
from forecast_service.state import state_of

router = APIRouter(prefix="/v1", tags=["scenarios"])


@router.post("/scenarios", response_model=schemas.Scenario)
async def scenarios(request: Request, client: Reader, asked: schemas.PlanRequest) -> Response:
    """Say what the model expects under a changed plan. Nothing is written."""
    return json_response(await service.scenario(state_of(request), asked))


@router.get("/plans", response_model=schemas.Plan)
async def plan(
    request: Request,
    client: Reader,
    store: Annotated[
        list[Store], Query(min_length=1, max_length=schemas.MAX_STORES, description="Stores.")
    ],
) -> Response:
    """Return the plan that stores' forecasts in force were made with."""
    rows = await service.plan_in_force(state_of(request), sorted(set(store)))
    return hashed_json(request, {"items": rows})


@router.post("/plans", status_code=202, response_model=Job)
async def adopt(
    request: Request,
    client: Planner,
    asked: schemas.PlanRequest,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Adopt a changed plan: the answer is a job to follow until its forecast is in force."""
    content = await plans.adopt(state_of(request), asked, client.name, idempotency_key)
    response = json_response(content, {"Location": f"/v1/jobs/{content['job_id']}"})
    response.status_code = 202
    return response
