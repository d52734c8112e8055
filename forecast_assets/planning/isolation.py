"""Failure isolation: one failing store does not make the others fail."""

from collections.abc import Callable, Collection, Sequence
from typing import TypeVar

T = TypeVar("T")


def bisect_failures(
    stores: Sequence[int],
    work: Callable[[list[int]], T],
    shared_errors: tuple[type[Exception], ...] = (),
    suspects: Collection[int] = (),
) -> tuple[list[T], dict[int, str]]:
    """Run `work` for all stores; on failure, bisect to find the ones that fail.

    Finding one store among a thousand costs about as much as running the work once more.

    Args:
        stores: The stores to work on.
        work: Processes a group of stores: either all of them, or none if it raises.
        shared_errors: Errors that no single store causes, such as a lost database connection.
            They are raised at once.
        suspects: Stores that failed before. They are tried apart from the others, so that one that
            fails again does not make the others' work start over.

    Returns:
        The results of the successful calls, and store -> a one-line error for those that failed.

    Raises:
        Exception: One of `shared_errors`.
    """
    results: list[T] = []
    failed: dict[int, str] = {}
    before = [store for store in stores if store in suspects]
    others = [store for store in stores if store not in suspects]
    pending = [group for group in (before, others) if group]
    while pending:
        group = pending.pop()
        try:
            results.append(work(group))
        except shared_errors:
            raise
        except Exception as error:
            if len(group) == 1:
                lines = str(error).strip().splitlines() or [""]
                failed[group[0]] = f"{type(error).__name__}: {lines[0]}"
            else:
                middle = len(group) // 2
                pending += [group[middle:], group[:middle]]
    return results, failed
