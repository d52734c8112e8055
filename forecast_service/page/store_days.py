"""The days of a store's page: what each sold, its forecast, plan, adjustment and comments."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

#: What the plan's public holidays are called.
HOLIDAYS = {"0": "", "a": "public holiday", "b": "Easter", "c": "Christmas"}
_WEEKEND = (6, 7)


@dataclass
class Day:
    """A day of a store.

    Attributes:
        date: The day.
        sales: What was sold; None if it has not come.
        open: Whether the store is open.
        promo: Whether it has a promotion.
        school_holiday: Whether schools are closed.
        state_holiday: A key of `HOLIDAYS`.
        plan_assumed: Whether nobody has planned the day, and it got the usual plan.
        forecast: The row of `/v1/forecasts`, or of `/v1/forecasts/past` for a past day; None if
            nothing was forecast for it.
        adjusted: The planner's number, its reason and author; None without one.
        comments: What was written about it, the newest first.
    """

    date: date
    sales: int | None = None
    open: int = 1
    promo: int = 0
    school_holiday: int = 0
    state_holiday: str = "0"
    plan_assumed: bool = False
    forecast: Mapping[str, Any] | None = None
    adjusted: Mapping[str, Any] | None = None
    comments: list[Mapping[str, Any]] = field(default_factory=list)

    @property
    def is_weekend(self) -> bool:
        """Whether it is a Saturday or a Sunday."""
        return self.date.isoweekday() in _WEEKEND

    @property
    def holiday(self) -> str:
        """What kind of public holiday it is; empty if none."""
        return HOLIDAYS[self.state_holiday]

    def charted(self) -> dict[str, Any]:
        """Return what the chart draws."""
        row: dict[str, Any] = {
            "date": self.date.isoformat(),
            "open": self.open,
            "promo": self.promo,
            "school_holiday": self.school_holiday,
            "state_holiday": self.state_holiday,
            "holiday": self.holiday,
            "sales": self.sales,
            "adjusted": self.adjusted["adjusted"] if self.adjusted else None,
        }
        names = ("point", "mean", "q0_025", "q0_1", "q0_9", "q0_975")
        return row | {name: self.forecast[name] if self.forecast else None for name in names}


def past_days(
    history: Sequence[Mapping[str, Any]],
    forecasts: Sequence[Mapping[str, Any]],
    comments: Sequence[Mapping[str, Any]],
) -> list[Day]:
    """Return the days that have been, with what was forecast for them and written about them.

    Args:
        history: Rows of `/v1/history`.
        forecasts: Rows of `/v1/forecasts/past`.
        comments: Rows of `/v1/comments`.
    """
    by_day, expected = _by_day(comments), {row["date"]: row for row in forecasts}
    names = ("date", "sales", "open", "promo", "school_holiday", "state_holiday")
    return [
        Day(
            **{name: row[name] for name in names},
            forecast=expected.get(row["date"]),
            comments=by_day[row["date"]],
        )
        for row in history
    ]


def future_days(
    forecasts: Sequence[Mapping[str, Any]],
    plan: Sequence[Mapping[str, Any]],
    adjusted: Sequence[Mapping[str, Any]],
    comments: Sequence[Mapping[str, Any]],
) -> list[Day]:
    """Return the days of the forecast in force, with their plan, adjustments and comments.

    Args:
        forecasts: Rows of `/v1/forecasts`.
        plan: Rows of `/v1/plans`.
        adjusted: Rows of `/v1/adjustments/days`.
        comments: Rows of `/v1/comments`.
    """
    planned = {row["date"]: row for row in plan}
    numbers = {row["date"]: row for row in adjusted}
    by_day = _by_day(comments)
    days = []
    for row in forecasts:
        known = planned.get(row["date"], {})
        days.append(
            Day(
                row["date"],
                open=int(row["open"]),
                promo=int(known.get("promo", 0)),
                school_holiday=int(known.get("school_holiday", 0)),
                state_holiday=str(known.get("state_holiday", "0")),
                plan_assumed=row["plan_assumed"],
                forecast=row,
                adjusted=numbers.get(row["date"]),
                comments=by_day[row["date"]],
            )
        )
    return days


def _by_day(comments: Sequence[Mapping[str, Any]]) -> defaultdict[date, list[Mapping[str, Any]]]:
    by_day: defaultdict[date, list[Mapping[str, Any]]] = defaultdict(list)
    for comment in comments:
        by_day[comment["date"]].append(comment)
    return by_day
