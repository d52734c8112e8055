"""What a page says at its top when its numbers may be wrong or old.

The rules are those of `/health/ready`. Whether Dagster and MLflow answer, the page's script asks
there: no page waits for other servers.
"""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

from forecast_service.health import OK, forecasts_problem, freshness_of
from forecast_service.problems import DATABASE_AWAY
from forecast_service.state import State
from warehouse.service import reading

#: States of a stream that waits for a person.
_STOPPED = {"refused": "has given up and needs a decision", "stopped": "was stopped"}


async def notices(state: State) -> list[str]:
    """Return a sentence for each thing that is wrong, the gravest first."""
    (freshness, database), troubles = await asyncio.gather(freshness_of(state), _troubles(state))
    if freshness is None or troubles is None:
        return [f"The sales database {database if freshness is None else 'does not answer'}."]
    found = []
    age = forecasts_problem(state, freshness)
    if age != OK:
        found.append(f"These forecasts may be old: {age}.")
    if troubles["failed_stores"]:
        found.append(
            f"The last refresh failed for {troubles['failed_stores']:,} stores, whose forecasts "
            f"are those of before: {_first_line(troubles['error'])}"
        )
    dead = stream_problem(troubles, state.settings.stream_silence_minutes, datetime.now(UTC))
    if dead is not None:
        found.append(dead)
    return found


def stream_problem(
    heartbeat: dict[str, Any], silence_minutes: float | None, now: datetime
) -> str | None:
    """Return what is wrong with the stream of sales; None if nothing is, or there is none.

    Args:
        heartbeat: The row of `reading.TROUBLES`.
        silence_minutes: Minutes after which a silent stream is dead; None if the chain has none.
        now: The time.
    """
    beat_at = heartbeat["beat_at"]
    if beat_at is None or silence_minutes is None:
        return None
    if heartbeat["stream_state"] in _STOPPED:
        what = _STOPPED[heartbeat["stream_state"]]
        reason = heartbeat["stream_error"]
        because = f": {_first_line(reason)}" if reason else "."
        return f"New sales do not arrive. The stream of {heartbeat['topic']} {what}{because}"
    if now - beat_at > timedelta(minutes=silence_minutes):
        return (
            f"New sales do not arrive. The stream of {heartbeat['topic']} has shown no life since "
            f"{beat_at:%Y-%m-%d %H:%M} UTC."
        )
    return None


async def _troubles(state: State) -> dict[str, Any] | None:
    try:
        return await state.database.row(reading.TROUBLES)
    except DATABASE_AWAY:
        return None


def _first_line(text: str) -> str:
    return text.strip().splitlines()[0] if text.strip() else "no reason is known"
