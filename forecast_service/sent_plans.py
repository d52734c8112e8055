"""The plans that were sent lately, so that the same request sends nothing again."""

import time

#: Seconds that a sent plan is remembered, so that the same request sends nothing again.
REMEMBERED_SECONDS = 3600.0


class SentPlans:
    """The plans that this process has sent lately, by request."""

    def __init__(self) -> None:
        """Start with none."""
        self._sent: dict[str, tuple[float, str]] = {}

    def get(self, request: str) -> str | None:
        """Return the job of a request that was sent before; None if it was not."""
        now = time.monotonic()
        self._sent = {name: entry for name, entry in self._sent.items() if entry[0] > now}
        known = self._sent.get(request)
        return known[1] if known else None

    def put(self, request: str, job_id: str) -> None:
        """Remember the job of a request."""
        self._sent[request] = (time.monotonic() + REMEMBERED_SECONDS, job_id)
