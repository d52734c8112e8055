"""The sensor's decision, as a function of what it saw."""

from dataclasses import dataclass
from datetime import date, datetime, timedelta

from forecast_assets.planning.partition_cells import Cells, rectangle

#: Waits before a failed refresh is tried again: doubled for each failure in a row, up to the
#: longest.
FIRST_WAIT = timedelta(seconds=10)
LONGEST_WAIT = timedelta(minutes=10)


@dataclass(frozen=True)
class Seen:
    """What a tick of the refresh sensor saw.

    Attributes:
        cells: The cells that open changes make stale; empty when nothing is open.
        newest_change: The number of the newest open change.
        in_flight: Whether a refresh waits or runs.
        failures: Refreshes that failed since the last one that succeeded.
        last_failure: When the newest of them ended.
        now: The time of the tick.
    """

    cells: Cells
    newest_change: int
    in_flight: bool
    failures: int
    last_failure: datetime | None
    now: datetime


@dataclass(frozen=True)
class Refresh:
    """Ask for one run over a rectangle of partitions."""

    first_period: date
    last_period: date
    first_store: int
    last_store: int
    run_key: str


@dataclass(frozen=True)
class Wait:
    """Ask for nothing, and say why."""

    reason: str


def decide(seen: Seen, ordered_stores: list[int]) -> Refresh | Wait:
    """Whether to refresh now.

    At most one refresh is in flight: what arrives meanwhile is gathered for the next one. After a
    failure the same changes are tried again, each time after a longer wait.

    Args:
        seen: What the tick saw.
        ordered_stores: The stores in the order of their partitions.
    """
    if not seen.cells:
        return Wait("nothing has changed")
    if seen.in_flight:
        return Wait("a refresh is in flight; what has changed since goes into the next")
    again = next_try(seen.failures, seen.last_failure)
    if again is not None and seen.now < again:
        return Wait(
            f"{seen.failures} refreshes in a row have failed; the next try is at "
            f"{again:%H:%M:%S} UTC"
        )
    corners = rectangle(seen.cells, ordered_stores)
    if corners is None:
        return Wait("the changed stores have no partition yet")
    # A used key is never run again: the failures in it let the same changes be tried again.
    return Refresh(*corners, run_key=f"change-{seen.newest_change}-try-{seen.failures}")


def next_try(failures: int, last_failure: datetime | None) -> datetime | None:
    """When to try again after failures in a row; None means now."""
    if not failures or last_failure is None:
        return None
    return last_failure + min(FIRST_WAIT * 2 ** min(failures - 1, 10), LONGEST_WAIT)
