"""Failure isolation in refreshes. The bisection itself is in `planning/isolation.py`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from forecast_assets.planning.isolation import bisect_failures
from forecast_assets.planning.scope import Scope

T = TypeVar("T")


def isolate_failures(
    scope: Scope, stores: Sequence[int], work: Callable[[list[int]], T]
) -> tuple[list[T], dict[int, str]]:
    """Run `work` for some stores; in a refresh, isolate the stores that fail.

    Requested partitions fail together: whoever requested them sees the error.

    Returns:
        The results of the successful calls, and store -> error for the stores that failed.
    """
    from warehouse.connection import SERVERS_FAULT

    shared_errors = (*SERVERS_FAULT, ImportError, MemoryError)
    if scope.refresh_id is None:
        return [work(list(stores))], {}
    return bisect_failures(stores, work, shared_errors, scope.suspects)
