"""The calendar: which date partition a day belongs in, for each grain.

Contains date arithmetic only. Where the partitions begin and end is a setting; Dagster's partition
definitions are made from it in `defs/partitions.py`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Literal, get_args

Grain = Literal["monthly", "weekly", "daily"]


@dataclass(frozen=True)
class Calendar:
    """Periods of one grain; each period is one date partition.

    A period is identified by its first day. Weeks begin on Monday.

    Attributes:
        grain: How long a period is.

    Raises:
        ValueError: The grain is unknown.
    """

    grain: Grain

    def __post_init__(self) -> None:
        grains = get_args(Grain)
        if self.grain not in grains:
            raise ValueError(f"unknown grain {self.grain!r}; use one of {', '.join(grains)}")

    def start_of(self, day: date) -> date:
        """Return the first day of the period that contains a day."""
        if self.grain == "monthly":
            return day.replace(day=1)
        if self.grain == "weekly":
            return day - timedelta(days=day.weekday())
        return day

    def end_of(self, start: date) -> date:
        """Return the last day of the period that begins on `start`."""
        return self.next(start) - timedelta(days=1)

    def next(self, start: date) -> date:
        """Return the first day of the period after the one that begins on `start`."""
        if self.grain == "monthly":
            return (start.replace(day=1) + timedelta(days=31)).replace(day=1)
        return start + timedelta(days=7 if self.grain == "weekly" else 1)

    def periods_between(self, first: date, last: date) -> Iterator[date]:
        """Yield the periods from the one that contains `first` to the one that contains `last`."""
        start = self.start_of(first)
        while start <= last:
            yield start
            start = self.next(start)
