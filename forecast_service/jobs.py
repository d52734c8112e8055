"""What a job looks like, whatever it does: a run of Dagster, or a plan on its way."""

from datetime import date, datetime
from enum import StrEnum
from typing import Annotated, Any

from fastapi import Header
from pydantic import BaseModel, Field

from forecast_service.state import State
from warehouse.service import runs as statements

IdempotencyKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=8,
        max_length=100,
        pattern=r"^[A-Za-z0-9._:-]+$",
        description="The same key is the same job, however often it is sent.",
    ),
]


class JobStatus(StrEnum):
    """How far a job is; the last four are ends."""

    QUEUED = "queued"
    RUNNING = "running"
    REFRESHING = "refreshing"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    LOST = "lost"


class ForecastPoint(BaseModel):
    """A day of a forecast."""

    date: date
    point: float
    mean: float
    q0_1: float
    q0_9: float


class StoreForecast(BaseModel):
    """A store's forecast as it was in force at a time."""

    origin: date
    model_version: str | None
    refresh_id: str
    written_at: datetime
    days: list[ForecastPoint]


class Job(BaseModel):
    """Work that goes on behind the answer: ask again until `done`."""

    job_id: str
    action: str = Field(description="`retrain`, `refresh` or `plan`.")
    status: JobStatus
    done: bool = Field(description="Whether the status is an end.")
    detail: str
    store: int | None = None
    created_at: datetime | None = None
    ended_at: datetime | None = None
    link: str | None = Field(None, description="The run's page in Dagster.")
    before: StoreForecast | None = Field(None, description="What was in force before it.")
    after: StoreForecast | None = Field(None, description="What is in force after it.")


async def forecast_at(state: State, store: int, time: datetime) -> dict[str, Any] | None:
    """Return a store's forecast as it was in force at a time; None if it had none."""
    rows = await state.database.rows(statements.FORECAST_AT, (store, time))
    if not rows:
        return None
    names = ("origin", "model_version", "refresh_id", "written_at")
    days = ("date", "point", "mean", "q0_1", "q0_9")
    return {
        **{name: rows[0][name] for name in names},
        "days": [{name: row[name] for name in days} for row in rows],
    }
