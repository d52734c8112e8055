"""The endpoints of the earlier system, with its paths and shapes, for clients that still use it.

A closed day is 0, the version named is the one that made the forecast, and a training that failed
says so. `product_name` is echoed: the chain forecasts stores' total sales.
"""

from datetime import timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Body, Path, Request
from starlette.responses import Response

from forecast_service.access import Reader, Trainer
from forecast_service.forecasts.service import Selection, forecasts_page, known_stores, ordered_days
from forecast_service.formats import Shape, json_response
from forecast_service.pages import MAX_PAGE_ROWS
from forecast_service.problems import Problem, ServiceError
from forecast_service.runs import schemas, service
from forecast_service.state import State, state_of
from warehouse.errors import NotFoundError

router = APIRouter(tags=["earlier system"])

MODEL_NAME = "sales-forecast"
#: Days of a forecast whose request names no end.
DEFAULT_DAYS = 7
#: Most forecasts of one request.
MAX_REQUESTS = 100


@router.post("/forecast", response_model=list[schemas.EarlierForecast])
async def forecast(
    request: Request,
    client: Reader,
    asked: Annotated[list[schemas.EarlierRequest], Body(min_length=1, max_length=MAX_REQUESTS)],
) -> Response:
    """Return the forecasts in force of some stores, seven days of each unless a span is named."""
    state = state_of(request)
    await known_stores(state, sorted({entry.store_id for entry in asked}))
    return json_response([await _forecast(state, entry) for entry in asked])


@router.post("/train", response_model=schemas.EarlierJob)
async def train(request: Request, client: Trainer) -> Response:
    """Train the pooled model on all sales up to now."""
    return _job(await service.start(state_of(request), "retrain", None, None))


@router.post("/{store_id}/{product_name}/train", response_model=schemas.EarlierJob)
async def train_store(
    request: Request,
    client: Trainer,
    store_id: Annotated[schemas.EarlierStore, Path()],
    product_name: Annotated[str, Path(max_length=100)],
) -> Response:
    """Train the pooled model, of which the store's model is a part."""
    return _job(await service.start(state_of(request), "retrain", store_id, None))


@router.get(
    "/training_job_status/{job_id}",
    response_model=schemas.EarlierJob,
    responses={400: {"model": Problem, "description": "There is no such job."}},
)
async def training_job_status(
    request: Request,
    client: Reader,
    job_id: Annotated[str, Path(max_length=100)],
) -> Response:
    """Say how far a training is."""
    try:
        return _job(await service.follow(state_of(request), job_id))
    except NotFoundError as error:
        raise ServiceError(400, str(error)) from None


async def _forecast(state: State, asked: schemas.EarlierRequest) -> dict[str, Any]:
    first, last = ordered_days(asked.begin_date, asked.end_date)
    selection = Selection([asked.store_id], first, last, limit=MAX_PAGE_ROWS)
    rows = (await forecasts_page(state, selection, Shape.OWN))["items"]
    if asked.end_date is None:
        end = rows[0]["date"] + timedelta(days=DEFAULT_DAYS)
        rows = [row for row in rows if row["date"] < end]
    return {
        "request": asked,
        "forecast": [
            {
                "timestamp": f"{row['date']}T00:00:00",
                "value": row["point"],
                "lower_ci": row["q0_1"],
                "upper_ci": row["q0_9"],
            }
            for row in rows
        ],
        "api": {"model_name": MODEL_NAME, "model_version": rows[0]["model_version"]},
    }


def _job(content: dict[str, Any]) -> Response:
    return json_response({"train_job_id": content["job_id"], "status": content["status"]})
