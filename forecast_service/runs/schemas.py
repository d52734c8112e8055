"""What the endpoints of the earlier system take and answer."""

from datetime import datetime
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, Field

from forecast_service.pages import MAX_STORE, Day


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
