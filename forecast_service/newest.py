"""What is kept until its version changes: a value that takes long to make, and answers."""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")


class Newest(Generic[T]):
    """A value that one request makes while others wait for it."""

    def __init__(self) -> None:
        """Begin without a value."""
        self._version: str | None = None
        self._value: T | None = None
        self._lock = asyncio.Lock()

    async def get(self, version: str, make: Callable[[], Awaitable[T]]) -> T:
        """Return the value of a version; make it if another one is kept.

        Args:
            version: Looked up before the value is made: a value that is newer than its version
                is made again, not kept for too long.
            make: Makes the value. If it raises, the next request tries again.
        """
        async with self._lock:
            if self._value is None or self._version != version:
                self._value = await make()
                self._version = version
            return self._value


@dataclass(frozen=True)
class Answer:
    """The body of an answer, and the version of the data that it was made from."""

    version: str
    body: bytes


class Answers:
    """The answers that were asked for last, as many as a number of bytes holds.

    Whoever takes one compares its version with the one in force: nothing here grows old by itself.
    """

    def __init__(self, max_bytes: int) -> None:
        """Begin without answers."""
        self._max_bytes, self._bytes = max_bytes, 0
        self._answers: OrderedDict[str, Answer] = OrderedDict()

    def get(self, query: str) -> Answer | None:
        """Return the answer to a query, whatever its version; None if there is none."""
        found = self._answers.get(query)
        if found is not None:
            self._answers.move_to_end(query)
        return found

    def put(self, query: str, answer: Answer) -> None:
        """Keep the answer to a query, and drop those that nobody has asked for longest."""
        before = self._answers.pop(query, None)
        self._bytes += len(answer.body) - (len(before.body) if before else 0)
        self._answers[query] = answer
        while self._bytes > self._max_bytes:
            _, dropped = self._answers.popitem(last=False)
            self._bytes -= len(dropped.body)
