"""Health, readiness and metrics.

`/health/live` says that the process answers. `/health/ready` says whether its answers are right and
fresh, and if not, why. `/health` has the shape of the earlier system.
"""

import asyncio
from datetime import UTC, datetime
from typing import Any

import httpx
from fastapi import APIRouter, Depends, Request
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import BaseModel
from starlette.responses import Response

from forecast_service.access import watcher
from forecast_service.formats import json_response
from forecast_service.problems import DATABASE_AWAY
from forecast_service.state import State, state_of
from warehouse.service import reading

router = APIRouter(tags=["health"])

#: Seconds to wait for MLflow's and Dagster's answer.
WAIT_SECONDS = 2.0
OK = "ok"


class Readiness(BaseModel):
    """What the service depends on: `ok`, or what is wrong."""

    ready: bool
    checks: dict[str, str]
    refreshed_at: datetime | None = None
    newest_origin: str | None = None


class EarlierHealth(BaseModel):
    """Health in the shape of the earlier system."""

    serviceStatus: str  # noqa: N815 - the clients' name
    modelTrackingHealth: str  # noqa: N815


@router.get("/health/live", response_model=dict[str, str])
async def live() -> Response:
    """Say that the process answers."""
    return json_response({"status": OK})


@router.get("/health/ready", response_model=Readiness, responses={503: {"model": Readiness}})
async def ready(request: Request) -> Response:
    """Say whether forecasts are right and fresh, and if not, why."""
    state = state_of(request)
    (freshness, database), dagster, mlflow = await asyncio.gather(
        freshness_of(state), _answers(state.dagster.health()), _answers(_mlflow(state))
    )
    checks = {
        "database": database,
        "forecasts": forecasts_problem(state, freshness) if freshness else "unknown",
        "dagster": dagster,
        "mlflow": mlflow,
    }
    content: dict[str, Any] = {
        "ready": all(value in (OK, "not configured") for value in checks.values()),
        "checks": checks,
    }
    if freshness:
        content["refreshed_at"] = freshness["refreshed_at"]
        content["newest_origin"] = freshness["newest_origin"]
    response = json_response(content, {"Cache-Control": "no-store"})
    if not content["ready"]:
        response.status_code = 503
        response.headers["Retry-After"] = "5"
    return response


@router.get("/health", response_model=EarlierHealth, responses={503: {"model": EarlierHealth}})
async def health(request: Request) -> Response:
    """Say how the service and the model registry are, as the earlier system did."""
    state = state_of(request)
    (freshness, _), mlflow = await asyncio.gather(freshness_of(state), _answers(_mlflow(state)))
    response = json_response(
        {
            "serviceStatus": "OK" if freshness else "unavailable",
            "modelTrackingHealth": "OK" if mlflow == OK else mlflow,
        },
        {"Cache-Control": "no-store"},
    )
    if freshness is None:
        response.status_code = 503
        response.headers["Retry-After"] = "5"
    return response


@router.get(
    "/metrics",
    response_class=Response,
    responses={200: {"content": {"text/plain": {}}}},
    dependencies=[Depends(watcher)],
)
async def metrics(request: Request) -> Response:
    """Return Prometheus metrics."""
    registry = state_of(request).metrics.registry
    return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)


async def freshness_of(state: State) -> tuple[dict[str, Any] | None, str]:
    """Return how fresh everything is, and how the database is."""
    try:
        row = await state.database.row(reading.FRESHNESS, (state.settings.max_open_minutes,))
    except DATABASE_AWAY:
        return None, "does not answer"
    return row, OK


def forecasts_problem(state: State, freshness: dict[str, Any]) -> str:
    """Return what is wrong with the age of the forecasts."""
    if freshness["newest_origin"] is None:
        return "no forecast yet: the first ones come a few minutes after the first load"
    if freshness["late_stores"]:
        return (
            f"{freshness['late_stores']:,} stores have waited longer than "
            f"{state.settings.max_open_minutes:g} minutes for a refresh; the last one ended at "
            f"{freshness['refreshed_at']}"
        )
    age = (datetime.now(UTC).date() - freshness["newest_origin"]).days
    if state.settings.expect_daily_sales and age > state.settings.max_age_days:
        return f"the newest sales are of {freshness['newest_origin']}, {age} days ago"
    return OK


async def _mlflow(state: State) -> bool | None:
    address = state.settings.mlflow_url
    if not address or not address.startswith("http"):
        return None
    token = state.settings.mlflow_token
    headers = {"Authorization": f"Bearer {token.get_secret_value()}"} if token else {}
    # A proxy of the environment cannot reach this machine's loopback.
    async with httpx.AsyncClient(timeout=WAIT_SECONDS, trust_env=False) as client:
        answer = await client.get(f"{address.rstrip('/')}/health", headers=headers)
        return answer.is_success


async def _answers(question: Any) -> str:
    """Return `ok`, or what is wrong with another server.

    Args:
        question: Awaits None for a server that is not configured, what is wrong in words, or
            whether its answer was good.
    """
    try:
        answer = await asyncio.wait_for(question, WAIT_SECONDS)
    except (httpx.HTTPError, TimeoutError, OSError) as error:
        return f"does not answer ({type(error).__name__})"
    if answer is None:
        return "not configured"
    if isinstance(answer, str):
        return answer
    return OK if answer else "refuses the token or answers with an error"
