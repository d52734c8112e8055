"""Health: rules that decide, from what was read, whether something needs a person's attention.

Pure functions. `steps/health.py` reads the facts; the checks, the alerts and `make status` all ask
here, so that they never disagree. When to tell somebody is decided in `alerting.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from statistics import median

from forecast_assets.planning.health_facts import HealthFacts, Limits, SalesDay

#: How many names a sentence lists before truncating.
LISTED_NAMES = 10

#: Days of sales needed to know on which weekdays sales come.
MIN_HISTORY_DAYS = 14

#: A day has come when this share of the usual number of stores has.
COMPLETE_SHARE = 0.5

#: When a day's sales are due if no day came by itself yet: noon of the next day (UTC).
DEFAULT_DELAY = timedelta(hours=36)

#: Days that came by themselves, needed to know how long sales usually take.
MIN_DELAYS = 3

#: Sales that took longer to arrive are an archive: today's calendar does not apply to them.
ARCHIVE_DELAY = timedelta(days=30)

#: Starts of the query within an hour that are too many. It starts once a day by itself.
MANY_STARTS = 4


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
    Rule.UNUSUAL: "confirmed or corrected",
}


@dataclass(frozen=True)
class Problem:
    """A rule that is violated.

    Attributes:
        rule: The rule.
        subjects: What violates it (a store; "" for the whole chain) -> a sentence about it.
    """

    rule: Rule
    subjects: Mapping[str, str]

    @property
    def summary(self) -> str:
        """A sentence that lists the first subjects."""
        return summarize(self.rule, self.subjects)


#: The beginning of a sentence about several subjects; `{}` is their number.
_HEADLINES: dict[Rule, str] = {
    Rule.FAILED: "stores whose refresh fails: {}",
    Rule.BEHIND: "stores with forecasts older than their sales: {}",
    Rule.SILENT: "stores without recent sales: {}",
    Rule.UNUSUAL: "unconfirmed sales of an unusual size: {}",
}


def summarize(rule: Rule, subjects: Mapping[str, str]) -> str:
    """Describe some subjects of a rule in a sentence."""
    listed = list_some(subjects.values())
    headline = _HEADLINES.get(rule)
    return listed if headline is None else f"{headline.format(len(subjects))} ({listed})"


def list_some(names: Iterable[str], limit: int = LISTED_NAMES) -> str:
    """Join names; truncate a long list."""
    listed = list(names)
    return ", ".join(listed[:limit]) + (" …" if len(listed) > limit else "")


def problems(facts: HealthFacts, limits: Limits) -> list[Problem]:
    """Apply every rule; return the violated ones."""
    usual = _usual_arrivals(facts, limits)
    subjects = {
        Rule.LATE: _late(facts, limits),
        Rule.FAILED: _failed(facts),
        Rule.OLD: _old(facts, limits, usual),
        Rule.BEHIND: _behind(facts, limits),
        Rule.EVENTS: _missing_days(facts, limits, usual),
        Rule.SILENT: _silent_stores(facts, limits),
        Rule.STREAM: _stream(facts, limits),
        Rule.QUARANTINE: _quarantine(facts, limits),
        Rule.UNUSUAL: {
            f"{sale.store} {sale.day}": f"store {sale.store} on {sale.day}: {sale.sales:,}"
            for sale in facts.unusual
            if sale.store not in facts.retired
        },
    }
    return [Problem(rule, violations) for rule, violations in subjects.items() if violations]


def _late(facts: HealthFacts, limits: Limits) -> dict[str, str]:
    late = [row for row in facts.late if row.error is None and row.store not in facts.retired]
    if not late:
        return {}
    listed = list_some(f"{row.store} since {row.first_day}" for row in late)
    return {
        "": f"forecasts of {len(late)} stores are stale: their changes have waited for more than "
        f"{limits.open_time.total_seconds() / 60:g} minutes ({listed})"
    }


def _failed(facts: HealthFacts) -> dict[str, str]:
    return {
        str(row.store): f"store {row.store} since {row.first_day}: {row.error}"
        for row in facts.late
        if row.error is not None and row.store not in facts.retired
    }


@dataclass(frozen=True)
class _Arrivals:
    """What history says about the arrival of sales.

    Attributes:
        stores: Usual number of stores, by weekday (0 is Monday); 0 where no sales come.
        delays: How long after the day's start its sales usually have come, by weekday.
    """

    stores: Mapping[int, float]
    delays: Mapping[int, timedelta]

    @property
    def is_archive(self) -> bool:
        """Whether the sales are a replay of the past."""
        return min(self.delays.values()) > ARCHIVE_DELAY


def _usual_arrivals(facts: HealthFacts, limits: Limits) -> _Arrivals | None:
    """Learn from history on which weekdays sales come and when; None if it is too short."""
    if not facts.days:
        return None
    known = {day.day: day for day in facts.days}
    first, last = min(known), max(known)
    if (last - first).days + 1 < MIN_HISTORY_DAYS:
        return None
    counts: dict[int, list[int]] = {weekday: [] for weekday in range(7)}
    delays: dict[int, list[timedelta]] = {weekday: [] for weekday in range(7)}
    for offset in range((last - first).days + 1):
        day = first + timedelta(days=offset)
        arrival = known.get(day)
        counts[day.weekday()].append(arrival.stores if arrival else 0)
        if arrival is not None and _came_by_itself(arrival, known):
            delays[day.weekday()].append(arrival.arrived - _start_of(day))
    stores = {weekday: median(numbers) for weekday, numbers in counts.items()}
    return _Arrivals(stores, _usual_delays(delays, known[last]))


def _came_by_itself(day: SalesDay, known: Mapping[date, SalesDay]) -> bool:
    """Return whether a day's sales came before the next day's, not in one load with them."""
    later = min((other for other in known if other > day.day), default=None)
    return later is None or day.arrived < known[later].arrived


def _usual_delays(delays: Mapping[int, list[timedelta]], newest: SalesDay) -> dict[int, timedelta]:
    together = [delay for some in delays.values() for delay in some]
    if len(together) >= MIN_DELAYS:
        default = max(together)
    else:
        default = max(DEFAULT_DELAY, newest.arrived - _start_of(newest.day))
    # One late delivery among a weekday's should not hide the next late one for weeks.
    return {
        weekday: max(some) if len(some) >= MIN_DELAYS else default
        for weekday, some in delays.items()
    }


def _start_of(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)


def _today(facts: HealthFacts, limits: Limits) -> date:
    """Return today, or the calendar's last day if that has passed."""
    today = facts.now.astimezone(UTC).date()
    return today if limits.calendar_end is None else min(today, limits.calendar_end)


def _missing_days(facts: HealthFacts, limits: Limits, usual: _Arrivals | None) -> dict[str, str]:
    """Find the days after the newest complete one whose sales should have come."""
    if usual is None:
        return {}
    counts = {day.day: day.stores for day in facts.days}
    complete = [
        day
        for day, stores in counts.items()
        if stores >= COMPLETE_SHARE * max(usual.stores[day.weekday()], 1)
    ]
    newest = max(complete, default=min(counts))
    missing = []
    day = newest + timedelta(days=1)
    while day <= _today(facts, limits):
        due = _start_of(day) + usual.delays[day.weekday()] + limits.events_grace
        if usual.stores[day.weekday()] > 0 and facts.now > due:
            missing.append((day, due))
        day += timedelta(days=1)
    if not missing:
        return {}
    first, due = missing[0]
    return {
        "": f"sales of {len(missing)} days have not come: those of {first:%A} {first} "
        f"({counts.get(first, 0):,} of usually {usual.stores[first.weekday()]:,.0f} stores) were "
        f"due by {due - limits.events_grace:%Y-%m-%d %H:%M} UTC; the newest day is {newest}"
    }


def _silent_stores(facts: HealthFacts, limits: Limits) -> dict[str, str]:
    """Find the stores that have sent nothing while the chain went on."""
    active = {s: day for s, day in facts.newest_sales.items() if s not in facts.retired}
    if not active:
        return {}
    newest = max(active.values())
    bound = newest - timedelta(days=limits.max_age_days)
    return {
        str(store): f"store {store} since {day}" for store, day in active.items() if day < bound
    }


def _old(facts: HealthFacts, limits: Limits, usual: _Arrivals | None) -> dict[str, str]:
    """Compare the newest origin with today's calendar, and look for a model that can serve."""
    active = {s: day for s, day in facts.newest_sales.items() if s not in facts.retired}
    if not active:
        return {}
    if not facts.readable_models and _settled(facts, limits):
        return {
            "": "no pooled model can be read, so no new forecast is issued: train one (job "
            "`train`), and see why the last training failed"
        }
    origins = [facts.origins[store] for store in active if store in facts.origins]
    if not origins or (usual is not None and usual.is_archive):
        return {}
    newest, today = max(origins), _today(facts, limits)
    if (today - newest).days <= limits.max_age_days:
        return {}
    return {
        "": f"the newest forecasts start from {newest}, {(today - newest).days} days before "
        f"{today}; the newest sales are of {max(active.values())}"
    }


def _behind(facts: HealthFacts, limits: Limits) -> dict[str, str]:
    """Find the stores whose newest sales are in no forecast although no change is open."""
    if not _settled(facts, limits) or not facts.readable_models:
        return {}
    behind = {}
    for store, day in sorted(facts.newest_sales.items()):
        origin = facts.origins.get(store)
        if store in facts.retired or store in facts.waiting or (origin and origin >= day):
            continue
        behind[str(store)] = f"store {store}: forecast from {origin or 'nothing'}, sales to {day}"
    return behind


def _settled(facts: HealthFacts, limits: Limits) -> bool:
    """Return whether the last refresh is long enough ago for its forecasts to be in force."""
    return facts.refreshed_at is not None and facts.now - facts.refreshed_at > limits.open_time


def _stream(facts: HealthFacts, limits: Limits) -> dict[str, str]:
    stream, silence = facts.stream, limits.stream_silence
    if stream is None or silence is None:
        return {}
    minutes = f"{silence.total_seconds() / 60:g} minutes"
    reason = f": {stream.error}" if stream.error else ""
    text = None
    if stream.state == "refused":
        text = f"has given up and needs a decision{reason}"
    elif facts.now - stream.beat_at > silence:
        ended = "was stopped" if stream.state == "stopped" else "has shown no life since"
        text = f"is dead: it {ended} {stream.beat_at:%Y-%m-%d %H:%M} UTC{reason}"
    elif stream.state == "stopped":
        text = None
    elif stream.failing_since is not None and facts.now - stream.failing_since > silence:
        text = f"has been restarting for more than {minutes}{reason}"
    elif stream.starts >= MANY_STARTS:
        text = f"was started {stream.starts} times within an hour{reason}"
    elif stream.behind_since is not None and facts.now - stream.behind_since > silence:
        text = (
            f"is stuck: {stream.lag_events:,} events wait, and none was stored for more than "
            f"{minutes}"
        )
    return {} if text is None else {"": f"the stream of {stream.topic} {text}"}


def _quarantine(facts: HealthFacts, limits: Limits) -> dict[str, str]:
    newest = facts.quarantined
    if newest is None or not newest.events:
        return {}
    total = sum(newest.by_reason.values())
    if total / newest.events <= limits.quarantined_share:
        return {}
    reasons = list_some(
        f"{reason} {count:,}"
        for reason, count in sorted(newest.by_reason.items(), key=lambda item: -item[1])
    )
    return {
        "": f"{total:,} of the last day's {newest.events:,} events were quarantined "
        f"({total / newest.events:.1%}; at most {limits.quarantined_share:.1%} expected): {reasons}"
    }
