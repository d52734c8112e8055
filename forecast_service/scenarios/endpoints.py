"""`/v1/scenarios` and `/v1/plans`."""

from fastapi import APIRouter, Request
from starlette.responses import Response

from forecast_service.access import Planner, Reader
from forecast_service.formats import json_response
from forecast_service.jobs import IdempotencyKey, Job
from forecast_service.scenarios import plans, schemas, service
from forecast_service.state import state_of

router = APIRouter(prefix="/v1", tags=["scenarios"])


@router.post("/scenarios", response_model=schemas.Scenario)
async def scenarios(request: Request, client: Reader, asked: schemas.PlanRequest) -> Response:
    """Say what the model expects under a changed plan. Nothing is written."""
    return json_response(await service.scenario(state_of(request), asked))


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
