"""What the endpoint of totals takes and answers."""

from datetime import date
from enum import StrEnum
from typing import Annotated, Any

from pydantic import BaseModel, Field, create_model

from forecasting.columns import QUANTILES, quantile_column


class Level(StrEnum):
    """Whose sales are summed."""

    CHAIN = "chain"
    STORE_TYPE = "store_type"
    ASSORTMENT = "assortment"
    STORE = "store"


class Grain(StrEnum):
    """Over which days sales are summed."""

    DAY = "day"
    WEEK = "week"


class _Total(BaseModel):
    """What a store, a group of stores or the chain sells on a day or in a week."""

    level: str
    member: str = Field(description="The store's number, the group's name, or `chain`.")
    grain: str
    origin: date = Field(description="The last day whose sales it saw.")
    first_day: date = Field(
        description="Weeks run from Monday to Sunday; the first and the last may be cut short."
    )
    last_day: date
    days: int = Field(description="How many forecasts of single stores and days are in the sum.")
    mean: float = Field(description="The expected sales: means add up, quantiles do not.")
    model_version: str | None
    refresh_id: str = Field(description="The Dagster run that wrote it.")


_QUANTILES: dict[str, Any] = {
    quantile_column(level): (
        Annotated[float, Field(description=f"The {level:.1%} quantile of the sum.")],
        ...,
    )
    for level in QUANTILES
}
Total: type[BaseModel] = create_model("Total", __base__=_Total, **_QUANTILES)


class TotalPage(BaseModel):
    """A page of totals, by member and first day."""

    items: list[Total]  # type: ignore[valid-type]
    next: str | None = Field(description="The cursor of the next page; null at the end.")
