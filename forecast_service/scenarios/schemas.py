"""What the endpoints of scenarios and plans take and answer."""

from datetime import date
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from forecast_service.pages import Day, Store

#: Most changes of one request, and most stores.
MAX_CHANGES = 200
MAX_STORES = 20

Flag = Annotated[Literal[0, 1], Field(description="0 or 1.")]


class PlanChange(BaseModel):
    """What changes in the plan of some days of a store; what is left out stays."""

    model_config = ConfigDict(extra="forbid")

    store: Store
    first_day: Day
    last_day: Day | None = Field(None, description="By default the first day.")
    open: Flag | None = None
    promo: Flag | None = None
    state_holiday: Literal["0", "a", "b", "c"] | None = Field(
        None, description="0: none, a: public holiday, b: Easter, c: Christmas."
    )
    school_holiday: Flag | None = None

    @model_validator(mode="after")
    def _changes_something(self) -> Self:
        if self.last_day is not None and not 0 <= (self.last_day - self.first_day).days <= 366:
            raise ValueError("last_day must be 0 to 366 days after first_day")
        if not self.fields():
            raise ValueError("name at least one of open, promo, state_holiday, school_holiday")
        return self

    def fields(self) -> dict[str, int | str]:
        """Return the changed fields."""
        names = ("open", "promo", "state_holiday", "school_holiday")
        return {name: value for name in names if (value := getattr(self, name)) is not None}


class PlanRequest(BaseModel):
    """A changed plan."""

    model_config = ConfigDict(extra="forbid")

    changes: Annotated[list[PlanChange], Field(min_length=1, max_length=MAX_CHANGES)]

    @model_validator(mode="after")
    def _few_stores(self) -> Self:
        if len({change.store for change in self.changes}) > MAX_STORES:
            raise ValueError(f"at most {MAX_STORES} stores at once")
        return self


class PlannedDay(BaseModel):
    """What is planned for a day of a store."""

    store: int
    date: date
    day_of_week: int = Field(description="1 is Monday.")
    open: int
    promo: int
    state_holiday: str
    school_holiday: int


class Plan(BaseModel):
    """The plan that the forecasts in force were made with, as it is known now."""

    items: list[PlannedDay]


class Numbers(BaseModel):
    """A forecast of a day."""

    open: int
    point: float
    mean: float
    q0_025: float
    q0_1: float
    q0_5: float
    q0_9: float
    q0_975: float


class ScenarioDay(BaseModel):
    """A day under the changed plan, beside the forecast in force."""

    store: int
    date: date
    changed: bool = Field(description="Whether the plan of this very day differs.")
    scenario: Numbers
    current: Numbers


class ScenarioStore(BaseModel):
    """A store's totals of `mean` over the horizon."""

    store: int
    origin: date
    model_version: str | None
    current: float
    scenario: float
    difference: float
    current_q0_1: float
    current_q0_9: float
    scenario_q0_1: float
    scenario_q0_9: float
    difference_q0_1: float = Field(
        description="The difference's 80 % range: both plans meet the same possible futures."
    )
    difference_q0_9: float


class UnseenDay(BaseModel):
    """A changed day of a kind that its store never had, so the model has no experience of it."""

    store: int
    date: date
    day_of_week: int
    promo: int
    state_holiday: str
    school_holiday: int


class Scenario(BaseModel):
    """What the model expects under a changed plan. Nothing was written."""

    meaning: str
    stores: list[ScenarioStore]
    days: list[ScenarioDay]
    unseen: list[UnseenDay]
