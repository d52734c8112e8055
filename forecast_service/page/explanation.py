"""Why a forecast is what it is, in a planner's words: from the store's usual day to the number.

The model's regressors are many and speak of logarithms. Here they are grouped, and what each group
adds is in sales, so that the lines add up to the forecast.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

#: Beginning of a regressor's name -> the group it belongs to. The first that fits counts.
_GROUPS: tuple[tuple[str, str], ...] = (
    ("school_promo", "Promotion"),
    ("school", "School holidays"),
    ("promo2", "Long promotion"),
    ("promo", "Promotion"),
    ("after_promo", "Promotion"),
    ("after_school", "School holidays"),
    ("before_school", "School holidays"),
    ("after_refurbishment", "Refurbishment"),
    ("before_refurbishment", "Refurbishment"),
    ("is_", "Day of the week"),
    ("sunday_open", "Closed days around it"),
    ("closed", "Closed days around it"),
    ("closure", "Closed days around it"),
    ("week_closed", "Closed days around it"),
    ("before_holiday", "Public holidays"),
    ("after_holiday", "Public holidays"),
    ("state_holiday", "Public holidays"),
    ("christmas", "Christmas and Easter"),
    ("before_christmas", "Christmas and Easter"),
    ("after_christmas", "Christmas and Easter"),
    ("easter", "Christmas and Easter"),
    ("before_", "Feast days"),
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


def steps(usual: float, parts: Sequence[Mapping[str, Any]], forecast: float) -> list[Step]:
    """Return the steps from a store's usual day to a forecast, the largest first.

    Args:
        usual: Sales of the store's usual open day.
        parts: Effects as `/v1/traces` returns them: feature, and effect as a share.
        forecast: The forecast, which the steps lead to.
    """
    factors: dict[str, float] = {}
    for part in parts:
        group = group_of(part["feature"])
        factors[group] = factors.get(group, 1.0) * (1.0 + part["effect"])
    ordered = sorted(factors.items(), key=lambda item: -abs(item[1] - 1.0))
    result, sales = [], usual
    for name, factor in ordered:
        if name != OTHER:
            result.append(Step(name, sales * (factor - 1.0), factor - 1.0))
            sales *= factor
    # What is small, and what the choice of the error measure adds.
    result.append(Step(OTHER, forecast - sales, forecast / sales - 1.0 if sales else 0.0))
    return result


def group_of(feature: str) -> str:
    """Return the group that a regressor belongs to."""
    return next((name for start, name in _GROUPS if feature.startswith(start)), OTHER)
