"""What the endpoints of runs take and answer."""

from datetime import date, datetime
from enum import StrEnum
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, Field

from forecast_service.pages import MAX_STORE, Day


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


def _store_number(value: Any) -> Any:
    """Take the earlier system's store numbers, which are text."""
    if isinstance(value, str) and value.isascii() and value.isdecimal() and len(value) <= 10:
        return int(value)
    return value


def _day_of_time(value: Any) -> Any:
    """Take the earlier system's midnights for days."""
    if isinstance(value, str) and value[10:] in (
        *("T00:00:00", " 00:00:00", "T00:00:00Z", "T00:00:00+00:00", "T00:00:00.000Z"),
    ):
        return value[:10]
    return value


EarlierStore = Annotated[
    int, BeforeValidator(_store_number), Field(ge=1, le=MAX_STORE, description="A store's number.")
]
EarlierDay = Annotated[Day, BeforeValidator(_day_of_time)]


class EarlierRequest(BaseModel):
    """One forecast asked for, in the shape of the earlier system."""

    store_id: EarlierStore
    product_name: Annotated[str, Field(max_length=100)] | None = None
    begin_date: EarlierDay | None = None
    end_date: EarlierDay | None = None


class EarlierPoint(BaseModel):
    """A day of a forecast in the shape of the earlier system; the interval is the 80 % one."""

    timestamp: datetime
    value: float
    lower_ci: float
    upper_ci: float


class EarlierModel(BaseModel):
    """The model that made a forecast."""

    model_name: str
    model_version: str | None


class EarlierForecast(BaseModel):
    """A forecast in the shape of the earlier system."""

    request: EarlierRequest
    forecast: list[EarlierPoint]
    api: EarlierModel


class EarlierJob(BaseModel):
    """A training in the shape of the earlier system."""

    train_job_id: str
    status: str
