"""The application: `create_app` puts features, limits and telemetry together."""

import gc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import Depends, FastAPI
from fastapi_offline import FastAPIOffline

from forecast_service import door, health
from forecast_service.accuracy.endpoints import router as accuracy
from forecast_service.adjustments.endpoints import router as adjustments
from forecast_service.dagster import DagsterClient
from forecast_service.database import Database
from forecast_service.forecasts.endpoints import router as forecasts
from forecast_service.limits import Limits
from forecast_service.newest import Answers, Newest
from forecast_service.page import chain, charts, sign_in, store, stores
from forecast_service.page import worklist as worklist_page
from forecast_service.page.rendering import STATIC, Static, add_error_pages
from forecast_service.problems import (
    Problem,
    Unexpected,
    add_handlers,
    refuse_unknown_parameters,
)
from forecast_service.runs.compatibility import router as compatibility
from forecast_service.runs.endpoints import router as runs
from forecast_service.scenarios.endpoints import router as scenarios
from forecast_service.sent_plans import SentPlans
from forecast_service.settings import Settings
from forecast_service.state import State
from forecast_service.telemetry import Metrics, Telemetry
from forecast_service.tokens import Tokens
from forecast_service.totals.endpoints import router as totals
from forecast_service.traces.endpoints import router as traces
from forecast_service.worklist.endpoints import router as worklist

#: Bytes of forecasts' answers to keep: those of the data set's 1,115 stores take 24 MB.
_ANSWER_BYTES = 64_000_000
#: The problem documents that any endpoint may answer.
_PROBLEMS = {
    status: {
        "model": Problem,
        "content": {"application/problem+json": {}},
        "description": description,
    }
    for status, description in {
        400: "The body cannot be read.",
        401: "No valid token.",
        403: "The token lacks the scope.",
        404: "No such thing.",
        409: "The state of things forbids it.",
        413: "The body is too long.",
        422: "The request is invalid; `errors` names fields and bounds.",
        429: "Too many requests at once.",
        503: "The database or another service is away.",
    }.items()
}


def create_app(settings: Settings) -> FastAPI:
    """Return the application; nothing connects before its lifespan begins."""
    metrics = Metrics()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        database = Database(settings)
        dagster = DagsterClient(settings)
        await database.open()
        # What is loaded stays: to look through it for garbage would hold up all requests for 0.3 s.
        gc.collect()
        gc.freeze()
        app.state.service = State(
            settings=settings,
            database=database,
            tokens=Tokens(database.row),
            dagster=dagster,
            sent_plans=SentPlans(),
            metrics=metrics,
            newest_worklist=Newest(),
            forecast_answers=Answers(_ANSWER_BYTES),
        )
        try:
            yield
        finally:
            await dagster.close()
            await database.close()

    app = FastAPIOffline(
        title="Sales forecasts",
        version="1",
        summary="Forecasts of a chain's stores: read, ask what if, adjust, refresh.",
        redoc_url=None,
        lifespan=lifespan,
        responses=_PROBLEMS,
    )
    add_handlers(app)
    add_error_pages(app)
    for router in (worklist, forecasts, totals, accuracy, traces, adjustments, scenarios, runs):
        app.include_router(router, dependencies=[Depends(refuse_unknown_parameters)])
    for router in (
        *(compatibility, health.router, door.router),
        *(sign_in.router, worklist_page.router, chain.router, stores.router),
        *(store.router, charts.router),
    ):
        app.include_router(router)
    app.mount("/static", Static(directory=STATIC), name="static")
    # The last one added is the outermost: it sees what the limits refuse, too.
    app.add_middleware(
        Limits,
        max_requests=settings.max_requests,
        max_body_bytes=settings.max_body_bytes,
        metrics=metrics,
    )
    app.add_middleware(Unexpected)
    app.add_middleware(Telemetry, metrics=metrics)
    return app
