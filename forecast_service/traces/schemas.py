"""What the endpoint of traces answers."""

from datetime import date, datetime

from pydantic import BaseModel, Field


class Quantiles(BaseModel):
    """The numbers of a forecast."""

    point: float
    mean: float
    quantiles: dict[str, float]


class Effect(BaseModel):
    """What a regressor adds to the store's usual day."""

    feature: str
    effect: float = Field(description="As a share of the usual day: 0.1 is ten per cent more.")
    sales: float = Field(description="The same in sales, of a usual day.")


class SeenDay(BaseModel):
    """A day of sales that the forecast saw, and the event it came from."""

    date: date
    sales: float
    open: int
    promo: int
    topic: str
    topic_id: str | None
    topic_partition: int
    offset: int
    event_time: str
    corrections: int


class TracedRun(BaseModel):
    """The Dagster run that wrote the forecast."""

    id: str
    written_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    changes: int | None


class TracedModel(BaseModel):
    """The pooled model."""

    version: str
    recipe: str
    trained_until: date
    mlflow_run_id: str | None
    mlflow_version: str | None
    metrics: dict[str, float]


class Trace(BaseModel):
    """Where a forecast came from."""

    store: int
    origin: date
    date: date
    horizon: int
    kind: str
    forecast: Quantiles
    actual: float | None
    open: int
    plan_assumed: bool
    model: TracedModel | None
    usual: float | None = Field(description="The store's usual open day, in sales.")
    parts: list[Effect]
    parts_from: str
    sales: list[SeenDay]
    run: TracedRun
    links: dict[str, str]
