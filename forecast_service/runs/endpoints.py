"""`/v1/stores/{store}/retrain`, `…/refresh`, and `/v1/jobs/{job_id}`."""

from typing import Annotated

from fastapi import APIRouter, Path, Request
from starlette.responses import Response

from forecast_service.access import Reader, Trainer
from forecast_service.formats import json_response
from forecast_service.jobs import IdempotencyKey, Job
from forecast_service.pages import Store
from forecast_service.runs import service
from forecast_service.scenarios import plans
from forecast_service.state import state_of

router = APIRouter(prefix="/v1", tags=["runs"])

JobId = Annotated[str, Path(min_length=1, max_length=2000, pattern=r"^[A-Za-z0-9_-]+$")]


@router.post("/stores/{store}/retrain", status_code=202, response_model=Job)
async def retrain(
    request: Request,
    client: Trainer,
    store: Annotated[Store, Path()],
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Train the pooled model on all sales up to now, and show the store before and after.

    If the new model is better than the champion, it takes over and every store is refreshed. A
    training that is in progress is joined.
    """
    return _accepted(await service.start(state_of(request), "retrain", store, idempotency_key))


@router.post("/stores/{store}/refresh", status_code=202, response_model=Job)
async def refresh(
    request: Request,
    client: Trainer,
    store: Annotated[Store, Path()],
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Take the open changes now instead of with the sensor's next look."""
    return _accepted(await service.start(state_of(request), "refresh", store, idempotency_key))


@router.get("/jobs/{job_id}", response_model=Job)
async def job(request: Request, client: Reader, job_id: JobId) -> Response:
    """Say how far a job is: a retraining, a refresh or a plan."""
    state = state_of(request)
    if job_id.startswith(plans.PREFIX):
        content = await plans.follow(state, job_id)
    else:
        content = await service.follow(state, job_id)
    return json_response(content, {"Cache-Control": "no-store"})


def _accepted(content: dict[str, object]) -> Response:
    response = json_response(content, {"Location": f"/v1/jobs/{content['job_id']}"})
    response.status_code = 202
    return response
