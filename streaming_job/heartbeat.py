"""The heartbeat of the stream's driver: a row of `sales.stream_heartbeats` that others can read.

It says that the driver lives, how often the query was started, since when it fails and since when
events wait without any being stored. What of this is wrong is decided by whoever reads it.
"""

from __future__ import annotations

import logging

from streaming_job import ledger
from streaming_job.errors import StreamError
from streaming_job.settings import StreamSettings

log = logging.getLogger(__name__)

#: Longest error that a heartbeat keeps, in letters.
ERROR_LETTERS = 500

# A null for "is failing" or "is behind" keeps what is known: a starting process knows neither.
_BEAT = """
INSERT INTO sales.stream_heartbeats AS known
    (topic, state, starts, failing_since, behind_since, lag_events, error)
VALUES (
    %(topic)s, %(state)s,
    CASE WHEN %(started)s THEN ARRAY[clock_timestamp()] ELSE '{}' END,
    CASE WHEN %(failing)s THEN clock_timestamp() END,
    CASE WHEN %(behind)s THEN clock_timestamp() END,
    coalesce(%(lag)s::bigint, 0), %(error)s::text
)
ON CONFLICT (topic) DO UPDATE SET
    state = excluded.state,
    beat_at = clock_timestamp(),
    starts = (
        SELECT coalesce(array_agg(start ORDER BY start), '{}')
        FROM unnest(known.starts || excluded.starts) AS start
        WHERE start > clock_timestamp() - interval '1 hour'
            -- Whoever stops and starts it on purpose may do so as often as they like.
            AND NOT (excluded.state = 'stopped' AND %(failing)s IS FALSE)),
    failing_since = CASE
        -- Its predecessor never came to run: killed while it started, and started again.
        WHEN excluded.state = 'starting' AND known.state = 'starting'
            THEN coalesce(known.failing_since, clock_timestamp())
        WHEN %(failing)s::boolean IS NULL THEN known.failing_since
        WHEN %(failing)s THEN coalesce(known.failing_since, excluded.failing_since) END,
    behind_since = CASE
        WHEN %(behind)s::boolean IS NULL THEN known.behind_since
        WHEN %(behind)s THEN coalesce(known.behind_since, excluded.behind_since) END,
    lag_events = coalesce(%(lag)s::bigint, known.lag_events),
    error = CASE
        WHEN %(failing)s::boolean IS NULL THEN coalesce(excluded.error, known.error)
        ELSE excluded.error END
"""


class Heartbeat:
    """Writes the heartbeat of one topic's stream; a failure to write ends nothing."""

    def __init__(self, settings: StreamSettings) -> None:
        """Remember where to write."""
        self._settings = settings
        self._is_written = True

    def beat(
        self,
        state: str,
        *,
        started: bool = False,
        failing: bool | None = None,
        behind: bool | None = None,
        lag_events: int | None = None,
        error: object = None,
    ) -> None:
        """Write a heartbeat.

        Args:
            state: starting, running, restarting, refused or stopped.
            started: Whether the query was started just now.
            failing: Whether it fails; None if that is not known yet.
            behind: Whether events wait and none was stored since the last report; None if that is
                not known.
            lag_events: Events that wait; None if that is not known.
            error: Why it fails.
        """
        values = {
            "topic": self._settings.sales_topic,
            "state": state,
            "started": started,
            "failing": failing,
            "behind": behind,
            "lag": lag_events,
            "error": None if error is None else _printable(str(error))[:ERROR_LETTERS],
        }
        try:
            with ledger.connect(self._settings.database_url) as connection:
                connection.execute(_BEAT, values)
            self._is_written = True
        except StreamError as failure:
            # PostgreSQL may be what fails; its absence shows as a heartbeat that has grown old.
            if self._is_written:
                log.warning("no heartbeat: %s", failure)
            self._is_written = False


def _printable(text: str) -> str:
    return "".join(letter if letter.isprintable() else " " for letter in text)
