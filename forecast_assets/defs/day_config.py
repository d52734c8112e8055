"""Run config types that are judged before a run exists: a day, and a span of days.

Dagster checks run config when it plans a run: the UI's launchpad, `dg launch` and GraphQL refuse
what the types here refuse, and no run is created. A pydantic validator would run inside the step.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Any

import dagster as dg

# The documented classes cannot check a value; these can, by `post_process`.
from dagster._config import ConfigScalar, ConfigScalarKind, PostProcessingError

from forecast_assets.planning.partition_cells import ALL_DAYS


class _Day(ConfigScalar):
    def __init__(self) -> None:
        super().__init__(
            key="Day",
            given_name="Day",
            scalar_kind=ConfigScalarKind.STRING,
            description="A day, written as 2015-05-10.",
        )

    def post_process(self, value: str) -> date:
        """Return the day.

        Raises:
            PostProcessingError: The text is not a day.
        """
        try:
            return date.fromisoformat(value)
        except ValueError as error:
            raise PostProcessingError(
                f"{value!r} is not a day ({error}). Write it as 2015-05-10"
            ) from None


class _Span(dg.Shape):
    # Dagster's own returns a plain `Shape` from a cache.
    def __new__(cls, *_args: Any, **_kwargs: Any) -> _Span:
        made = object.__new__(cls)
        made._initialized = False
        return made

    def post_process(self, value: Mapping[str, date | None]) -> Mapping[str, date | None]:
        """Return the span.

        Raises:
            PostProcessingError: Its last day is before its first.
        """
        first, last = value.get("first_day"), value.get("last_day")
        if (last or ALL_DAYS[1]) < (first or ALL_DAYS[0]):
            raise PostProcessingError(
                f"the last day {last} is before the first day {first}. Swap them"
            )
        return value


DAY = _Day()


def span_of_days(first: str, last: str) -> dg.Shape:
    """Return the type of a span of days with the fields `first_day` and `last_day`.

    Args:
        first: The description of the first day.
        last: The description of the last day.
    """
    return _Span(
        {
            "first_day": dg.Field(
                dg.Noneable(DAY), default_value=None, is_required=False, description=first
            ),
            "last_day": dg.Field(
                dg.Noneable(DAY), default_value=None, is_required=False, description=last
            ),
        }
    )
