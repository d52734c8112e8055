"""The wording of alerts: every sentence about what is wrong, and about its end.

The checks, the webhook and `make status` use the same sentences. What is wrong is decided in
`health.py`, when to tell somebody in `alerting.py`; `defs/alerts.py` sends.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum

from forecast_assets.planning.health_facts import LateStore, OutdatedCorrection

#: How many names a sentence lists before truncating.
LISTED_NAMES = 10


class Rule(StrEnum):
    """What can be wrong; one spell of it is told once, and its end once."""

    DATABASE = "database"
    LATE = "late"
    FAILED = "failed"
    OLD = "old"
    BEHIND = "behind"
    EVENTS = "events"
    SILENT = "silent"
    STREAM = "stream"
    QUARANTINE = "quarantine"
    OUTDATED = "outdated"
    UNUSUAL = "unusual"


#: How a message says that a rule is satisfied again.
RECOVERED: dict[Rule, str] = {
    Rule.DATABASE: "the sales database answers again",
    Rule.LATE: "forecasts are fresh again",
    Rule.FAILED: "no longer failing",
    Rule.OLD: "forecasts start from recent sales again",
    Rule.BEHIND: "forecasts follow the newest sales again",
    Rule.EVENTS: "sales arrive again",
    Rule.SILENT: "sales have come again, or the store was retired",
    Rule.STREAM: "the stream runs again",
    Rule.QUARANTINE: "few events are quarantined again",
    Rule.OUTDATED: "settled, or a week old",
    Rule.UNUSUAL: "confirmed or corrected",
}

#: The beginning of a sentence about several subjects; `{}` is their number.
_HEADLINES: dict[Rule, str] = {
    Rule.FAILED: "stores whose refresh fails: {}",
    Rule.BEHIND: "stores with forecasts older than their sales: {}",
    Rule.SILENT: "stores without recent sales: {}",
    Rule.OUTDATED: "corrections that do not count, as they were sent before what they correct: {}",
    Rule.UNUSUAL: "unconfirmed sales of an unusual size: {}",
}

NO_READABLE_MODEL = (
    "no pooled model can be read, so no new forecast is issued: train one (job `train`), and see "
    "why the last training failed"
)


def summarize(rule: Rule, subjects: Mapping[str, str]) -> str:
    """Describe some subjects of a rule in a sentence."""
    listed = list_some(subjects.values())
    headline = _HEADLINES.get(rule)
    return listed if headline is None else f"{headline.format(len(subjects))} ({listed})"


def list_some(names: Iterable[str], limit: int = LISTED_NAMES) -> str:
    """Join names; truncate a long list."""
    listed = list(names)
    return ", ".join(listed[:limit]) + (" …" if len(listed) > limit else "")


def stale_forecasts(late: Sequence[LateStore], bound: timedelta, now: datetime) -> str:
    """Say which stores' changes wait, and since when."""
    listed = list_some(f"store {row.store}, waiting{_since(row.made_at, now)}" for row in late)
    return (
        f"forecasts of {len(late)} stores are stale: their changes have waited for more than "
        f"{_minutes(bound)} ({listed})"
    )


def _since(moment: datetime | None, now: datetime) -> str:
    """Return a time of today as hours and minutes, another one with its day."""
    if moment is None:
        return ""
    moment = moment.astimezone(UTC)
    is_today = moment.date() == now.astimezone(UTC).date()
    return f" since {moment:{'%H:%M' if is_today else '%Y-%m-%d %H:%M'}} UTC"


def failing_store(store: int, first_day: date, error: str | None) -> str:
    """Say since which day a store's refresh fails, and why."""
    return f"store {store} since {first_day}: {error}"


def outdated_correction(row: OutdatedCorrection) -> str:
    """Say which correction does not count, and what counts instead."""
    said, kept = ("a plan" if n is None else f"{n:,}" for n in (row.sales, row.kept_sales))
    return (
        f"store {row.store} on {row.day}: {said} sent {row.sent:%Y-%m-%d %H:%M:%S} does not count, "
        f"{kept} sent {row.kept_sent:%Y-%m-%d %H:%M:%S} does; {row.place}"
    )


def unusual_sale(store: int, day: date, sales: int) -> str:
    """Say which sales are unusual."""
    return f"store {store} on {day}: {sales:,}"


def missing_days(
    days: int, first: date, stores: tuple[int, float], due: datetime, *, newest: date
) -> str:
    """Say that days of sales have not come.

    Args:
        days: How many.
        first: The first of them.
        stores: How many stores it has, and how many are usual.
        due: When it was due.
        newest: The newest day that has come.
    """
    return (
        f"sales of {days} days have not come: those of {first:%A} {first} "
        f"({stores[0]:,} of usually {stores[1]:,.0f} stores) were due by "
        f"{due:%Y-%m-%d %H:%M} UTC; the newest day is {newest}"
    )


def silent_store(store: int, day: date) -> str:
    """Say since when a store has sent nothing."""
    return f"store {store} since {day}"


def old_forecasts(newest: date, today: date, *, newest_sales: date) -> str:
    """Say how old the newest origin is."""
    return (
        f"the newest forecasts start from {newest}, {(today - newest).days} days before "
        f"{today}; the newest sales are of {newest_sales}"
    )


def store_behind(store: int, origin: date | None, newest_sales: date) -> str:
    """Say that a store's forecasts have not seen its newest sales."""
    return f"store {store}: forecast from {origin or 'nothing'}, sales to {newest_sales}"


def stream_gave_up(error: str | None) -> str:
    """Say that the stream waits for an operator."""
    return f"has given up and needs a decision{_because(error)}"


def dead_stream(beat_at: datetime, error: str | None, *, stopped: bool) -> str:
    """Say since when the stream is dead."""
    ended = "was stopped" if stopped else "has shown no life since"
    return f"is dead: it {ended} {beat_at:%Y-%m-%d %H:%M} UTC{_because(error)}"


def restarting_stream(silence: timedelta, error: str | None) -> str:
    """Say that the stream does not come up."""
    return f"has been restarting for more than {_minutes(silence)}{_because(error)}"


def stream_started_often(starts: int, error: str | None) -> str:
    """Say that the stream was started too often."""
    return f"was started {starts} times within an hour{_because(error)}"


def stuck_stream(lag_events: int, silence: timedelta) -> str:
    """Say that the stream stores nothing although events wait."""
    return (
        f"is stuck: {lag_events:,} events wait, and none was stored for more than "
        f"{_minutes(silence)}"
    )


def quarantined(total: int, events: int, by_reason: Mapping[str, int], expected: float) -> str:
    """Say which share of the last day's events was quarantined, and why."""
    reasons = list_some(
        f"{reason} {count:,}"
        for reason, count in sorted(by_reason.items(), key=lambda item: -item[1])
    )
    return (
        f"{total:,} of the last day's {events:,} events were quarantined "
        f"({total / events:.1%}; at most {expected:.1%} expected): {reasons}"
    )


def _minutes(duration: timedelta) -> str:
    return f"{duration.total_seconds() / 60:g} minutes"


def _because(error: str | None) -> str:
    return f": {error}" if error else ""
