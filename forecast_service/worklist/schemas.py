"""What the endpoint of the worklist answers."""

from datetime import date

from pydantic import BaseModel, Field

from forecast_service.worklist.rules import Code


class WorkReason(BaseModel):
    """Why a store needs a person."""

    code: Code
    sentence: str = Field(description="The reason in words, with its numbers.")
    sales: float = Field(
        description="The sales in question: how much of what is planned may be wrong because of it."
    )


class WorkItem(BaseModel):
    """A store that needs a person."""

    rank: int = Field(description="1 is the most urgent; the same whatever is filtered.")
    store: int
    origin: date = Field(description="The last day whose sales the store's forecast saw.")
    sales_at_stake: float = Field(description="The store's expected sales of the next 14 days.")
    sales_in_question: float = Field(
        description="The sum over the reasons; stores are ranked by it."
    )
    reasons: list[WorkReason] = Field(description="The largest first.")


class Worklist(BaseModel):
    """A page of the stores that need a person, the most urgent first."""

    today: date = Field(description="The newest day whose sales are known.")
    last_day: date = Field(description="The last of the days whose sales are at stake.")
    stores: int = Field(description="Stores that were looked at.")
    counts: dict[Code, int] = Field(description="Stores by reason, whatever is filtered.")
    items: list[WorkItem]
    next: str | None = Field(description="The cursor of the next page; null at the end.")
