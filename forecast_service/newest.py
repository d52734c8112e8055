"""The newest value of something that takes long to make, kept until its version changes."""

import asyncio
from collections.abc import Awaitable, Callable
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
