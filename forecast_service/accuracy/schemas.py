"""What the endpoints of accuracy answer."""

from datetime import date

from pydantic import BaseModel, Field


class LeadAccuracy(BaseModel):
    """How good the forecasts of a week of lead time were; null where nothing was sold."""

    lead_week: int = Field(description="1 is up to 7 days ahead, 2 up to 14 …")
    days: int
    forecasts: int
    rmspe: float | None
    wape: float | None
    bias: float | None = Field(description="Positive: too high.")
    coverage_80: float | None
    coverage_95: float | None
    naive_rmspe: float | None = Field(description="The seasonal naive's; null for many stores.")
    naive_wape: float | None


class AccuracyReport(BaseModel):
    """How good forecasts were, by lead time."""

    kind: str = Field(description="`backtest` until an issued forecast has met its day.")
    first_day: date
    last_day: date
    items: list[LeadAccuracy]


class ValueAdded(BaseModel):
    """What a planner's adjustments for a reason were worth."""

    author: str
    reason: str
    days: int
    naive_wape: float | None
    model_wape: float | None
    adjusted_wape: float | None
    value_added: float | None = Field(
        description="The model's WAPE minus the adjusted one; positive: the planner was better."
    )


class ValueAddedReport(BaseModel):
    """Forecast value added, by planner and reason, and in total."""

    items: list[ValueAdded]
    total: ValueAdded | None
