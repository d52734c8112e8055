"""What the endpoints share: one `State` per application, made by the lifespan."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fastapi import Request

if TYPE_CHECKING:
    from forecast_service.dagster import DagsterClient
    from forecast_service.database import Database
    from forecast_service.newest import Answers, Newest
    from forecast_service.sent_plans import SentPlans
    from forecast_service.settings import Settings
    from forecast_service.telemetry import Metrics
    from forecast_service.tokens import Tokens


@dataclass(frozen=True)
class State:
    """The service's settings and connections."""

    settings: Settings
    database: Database
    tokens: Tokens
    dagster: DagsterClient
    sent_plans: SentPlans
    metrics: Metrics
    newest_worklist: Newest[Any]
    forecast_answers: Answers


def state_of(request: Request) -> State:
    """Return the state of the application that got a request."""
    state: State = request.app.state.service
    return state
