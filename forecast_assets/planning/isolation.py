"""Keeps a store that fails from failing the others: halves the stores until it stands alone."""

from collections.abc import Callable, Collection, Sequence
from typing import TypeVar

T = TypeVar("T")


def apart(
    stores: Sequence[int],
    work: Callable[[list[int]], T],
    everybodys: tuple[type[Exception], ...] = (),
    suspects: Collection[int] = (),
) -> tuple[list[T], dict[int, str]]:
    """Does a work for all stores at once; where it fails, for halves of them.

    Finding one store among a thousand costs about as much again as the whole work.

    Args:
        stores: The stores to work on.
        work: What to do for some stores: all or nothing of it.
        everybodys: Errors that are no store's fault (the database is away): nothing is halved.
        suspects: Stores that have failed before: each is tried by itself from the start.

    Returns:
        What the works gave that succeeded, and the stores at fault with their errors, in a line.

    Raises:
        Exception: The work failed for everybody: the first error. One store by itself is no proof
            of that.
    """
    done: list[T] = []
    failed: dict[int, str] = {}
    first: Exception | None = None
    waiting = [[store] for store in stores if store in suspects]
    others = [store for store in stores if store not in suspects]
    if others:
        waiting.append(others)
    while waiting:
        some = waiting.pop()
        try:
            done.append(work(some))
        except everybodys:
            raise
        except Exception as error:
            first = first or error
            if len(some) == 1:
                lines = str(error).strip().splitlines() or [""]
                failed[some[0]] = f"{type(error).__name__}: {lines[0]}"
            else:
                middle = len(some) // 2
                waiting += [some[middle:], some[:middle]]
    if first is not None and len(stores) > 1 and not done:
        raise first
    return done, failed
