"""Why a forecast is what it is, in a planner's words: from the store's usual day to the number.

The model's regressors are many and speak of logarithms. Here they are grouped, and what each group
adds is in sales, so that the lines add up to the forecast.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_CLOSED = "How many days around it are closed"
_FEASTS = "Nearness of Christmas and Easter"
#: Beginning of a regressor's name -> the group it belongs to. The first that fits counts.
_GROUPS: tuple[tuple[str, str], ...] = (
    ("school_promo", "Promotion"),
    ("school", "School holidays"),
    ("promo2", "Long promotion"),
    ("promo", "Promotion"),
    ("after_promo", "Promotion"),
    ("after_school", "Days around school holidays"),
    ("before_school", "Days around school holidays"),
    ("after_refurbishment", "Refurbishment"),
    ("before_refurbishment", "Refurbishment"),
    ("is_", "Day of the week"),
    ("sunday_open", _CLOSED),
    ("closed", _CLOSED),
    ("closure", _CLOSED),
    ("week_closed", _CLOSED),
    ("before_holiday", "Days around public holidays"),
    ("after_holiday", "Days around public holidays"),
    ("state_holiday", "Public holiday"),
    ("christmas", _FEASTS),
    ("before_christmas", _FEASTS),
    ("after_christmas", _FEASTS),
    ("easter", _FEASTS),
    ("before_", "Nearness of other feast days"),
    ("year_", "Time of the year"),
    ("month_", "Time of the month"),
    ("working_turn", "Time of the month"),
    ("saturday_turn", "Time of the month"),
    ("competition", "Competitors"),
    ("level", "How the store has sold lately"),
    ("trend", "Trend"),
    ("trees", "What alike days and stores add"),
)
OTHER = "Everything else"
#: Group -> the field of the plan that says whether the day has it, and its name if it has not.
#: The usual day is an average that holds a share of each, so a day without one differs from it.
_ABSENT = {
    "Promotion": ("promo", "No promotion"),
    "School holidays": ("school_holiday", "No school holidays"),
    "Public holiday": ("state_holiday", "No public holiday"),
}


@dataclass(frozen=True)
class Step:
    """What a group of effects adds.

    Attributes:
        name: The group.
        sales: What it adds, in sales.
        share: The same as a share of what was there before.
    """

    name: str
    sales: float
    share: float


def steps(
    usual: float,
    parts: Sequence[Mapping[str, Any]],
    forecast: float,
    plan: Mapping[str, Any] | None = None,
) -> list[Step]:
    """Return the steps from a store's usual day to a forecast, the largest first.

    Args:
        usual: Sales of the store's usual open day.
        parts: Effects as `/v1/traces` returns them: feature, and effect as a share.
        forecast: The forecast, which the steps lead to.
        plan: The day's row of `/v1/plans`; None if it is not known.
    """
    factors: dict[str, float] = {}
    for part in parts:
        group = group_of(part["feature"])
        factors[group] = factors.get(group, 1.0) * (1.0 + part["effect"])
    ordered = sorted(factors.items(), key=lambda item: -abs(item[1] - 1.0))
    result, sales = [], usual
    for name, factor in ordered:
        if name != OTHER:
            result.append(Step(_named(name, plan), sales * (factor - 1.0), factor - 1.0))
            sales *= factor
    # What is small, and what the choice of the error measure adds.
    result.append(Step(OTHER, forecast - sales, forecast / sales - 1.0 if sales else 0.0))
    return result


def _named(group: str, plan: Mapping[str, Any] | None) -> str:
    """Return what to call a group's effect on a day with a plan."""
    if plan is None or group not in _ABSENT:
        return group
    field, absent = _ABSENT[group]
    return absent if str(plan[field]) == "0" else group


def group_of(feature: str) -> str:
    """Return the group that a regressor belongs to."""
    return next((name for start, name in _GROUPS if feature.startswith(start)), OTHER)
