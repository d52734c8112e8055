"""What the endpoints of stores, forecasts, history and changes answer."""

from datetime import date
from typing import Annotated, Any

from pydantic import BaseModel, Field, create_model

from forecasting.columns import QUANTILES, quantile_column


class Store(BaseModel):
    """A store and its attributes."""

    store: int
    store_type: str
    assortment: str
    competition_distance: float | None
    promo2: int
    promo_interval: str | None
    retired: bool = Field(description="Whether it is closed for good.")


class StorePage(BaseModel):
    """A page of stores."""

    items: list[Store]
    next: str | None = Field(description="The cursor of the next page; null at the end.")


class _ForecastDay(BaseModel):
    """The forecast of one store and day."""

    store: int
    origin: date = Field(description="The last day whose sales it saw.")
    date: date
    horizon: int = Field(description="Days from origin to date.")
    kind: str = Field(description="`issued`: what planners saw; `backtest`: computed later.")
    open: int
    plan_assumed: bool = Field(description="Whether the day had no plan and got the usual one.")
    point: float = Field(description="The forecast for the settings' error measure; 0 when closed.")
    mean: float = Field(description="The expected sales: what totals are made of.")
    model_version: str | None
    refresh_id: str = Field(description="The Dagster run that wrote it.")


_QUANTILES: dict[str, Any] = {
    quantile_column(level): (Annotated[float, Field(description=f"The {level:.1%} quantile.")], ...)
    for level in QUANTILES
}
ForecastDay: type[BaseModel] = create_model("ForecastDay", __base__=_ForecastDay, **_QUANTILES)


class NixtlaDay(BaseModel):
    """The same under the names of Nixtla's libraries."""

    unique_id: int
    ds: date
    model: float
    lo_80: float = Field(alias="model-lo-80")
    hi_80: float = Field(alias="model-hi-80")
    lo_95: float = Field(alias="model-lo-95")
    hi_95: float = Field(alias="model-hi-95")


class ForecastPage(BaseModel):
    """A page of forecasts, by store and date."""

    items: list[ForecastDay] | list[NixtlaDay]  # type: ignore[valid-type]
    next: str | None = Field(description="The cursor of the next page; null at the end.")


class PastForecast(BaseModel):
    """What was forecast for a day before it came."""

    store: int
    origin: date = Field(description="The last day whose sales it saw.")
    date: date
    horizon: int = Field(description="Days from origin to date.")
    kind: str = Field(description="`issued`: what planners saw; `backtest`: computed later.")
    open: int
    point: float
    mean: float
    q0_025: float
    q0_1: float
    q0_9: float
    q0_975: float


class PastForecasts(BaseModel):
    """What was forecast for days, by store and date."""

    items: list[PastForecast]


class HistoryDay(BaseModel):
    """What a store sold on a day."""

    store: int
    date: date
    sales: int
    customers: int
    open: int
    promo: int
    state_holiday: str
    school_holiday: int
    corrections: int = Field(description="How many events of the day were superseded.")


class HistoryPage(BaseModel):
    """A page of sales, by store and date."""

    items: list[HistoryDay]
    next: str | None = Field(description="The cursor of the next page; null at the end.")


class _Change(BaseModel):
    """A change of `point` and its causes, which add up to it; null if they are not known."""

    before: float
    after: float
    change: float
    plan: float | None = Field(description="What a changed plan did.")
    sales: float | None = Field(description="What newer and corrected sales did.")
    model: float | None = Field(description="What a new model did.")


class ChangedDay(_Change):
    """What changed in the forecast of a day."""

    date: date
    horizon: int


class StoreChange(_Change):
    """What changed in a store's forecast, over the days that both forecasts cover."""

    store: int
    origin: date
    earlier_origin: date
    model_version: str | None
    earlier_version: str | None
    days: list[ChangedDay]


class Changes(BaseModel):
    """The stores' changes, the largest first."""

    items: list[StoreChange]
