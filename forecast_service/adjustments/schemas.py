"""What the endpoints of adjustments and comments take and answer."""

from datetime import date, datetime
from enum import StrEnum
from typing import Annotated, Self
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, model_validator

from forecast_service.pages import Day, Line, Store, Text

MAX_DAYS = 366
Value = Annotated[float, Field(ge=0, lt=1e12, allow_inf_nan=False)]
Percent = Annotated[float, Field(ge=-100, le=1000, allow_inf_nan=False)]


class Reason(StrEnum):
    """Why a planner corrects the model."""

    PROMOTION = "promotion"
    EVENT = "event"
    WEATHER = "weather"
    COMPETITOR = "competitor"
    STOCK = "stock"
    BUILDING = "building"
    DATA = "data"
    OTHER = "other"


class NewAdjustment(BaseModel):
    """A planner's own number for days of a store: a value, or a percentage of the model's."""

    model_config = ConfigDict(extra="forbid")

    store: Store
    first_day: Day
    last_day: Day | None = Field(None, description="By default the first day.")
    value: Value | None = Field(None, description="Sales of each day.")
    percent: Percent | None = Field(None, description="Added to the model's point: 10 is +10 %.")
    reason: Reason
    note: Text = ""
    author: Line | None = Field(None, description="By default the token's name.")
    expires_at: AwareDatetime | None = Field(
        None, description="From when on it no longer applies; with a time zone."
    )

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        if (self.value is None) == (self.percent is None):
            raise ValueError("name either value or percent")
        if self.last_day is not None and not 0 <= (self.last_day - self.first_day).days <= MAX_DAYS:
            raise ValueError(f"last_day must be 0 to {MAX_DAYS} days after first_day")
        return self


class NewWithdrawal(BaseModel):
    """Taking an adjustment back."""

    model_config = ConfigDict(extra="forbid")

    note: Text = ""
    author: Line | None = Field(None, description="By default the token's name.")


class Adjustment(BaseModel):
    """A stored adjustment, or the withdrawal of one."""

    adjustment_id: UUID
    store: int
    first_day: date
    last_day: date
    value: float | None
    percent: float | None
    reason: str
    note: str
    author: str
    expires_at: datetime | None
    withdraws: UUID | None
    made_at: datetime
    state: str = Field(description="`in force`, `expired`, `withdrawn`, or `withdrawal`.")


class Adjustments(BaseModel):
    """Adjustments, the newest first."""

    items: list[Adjustment]


class AdjustedDay(BaseModel):
    """The model's number and the planner's, side by side."""

    store: int
    origin: date
    date: date
    open: int
    model: float
    q0_1: float
    q0_9: float
    adjusted: float
    adjustment_id: UUID
    reason: str
    author: str


class AdjustedDays(BaseModel):
    """The days of the forecasts in force that somebody adjusted."""

    items: list[AdjustedDay]


class NewComment(BaseModel):
    """What to write about a day of a store."""

    model_config = ConfigDict(extra="forbid")

    store: Store
    date: Day
    text: Annotated[Text, Field(min_length=1)]
    author: Line | None = Field(None, description="By default the token's name.")


class Comment(BaseModel):
    """A stored comment."""

    comment_id: UUID
    store: int
    date: date
    text: str
    author: str
    made_at: datetime | None = None


class Comments(BaseModel):
    """Comments, the newest first."""

    items: list[Comment]
