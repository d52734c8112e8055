"""Health: rules that decide, from what was read, whether something needs a person's attention.

Pure functions. `steps/health.py` reads the facts; the checks, the alerts and `make status` all ask
here, so that they never disagree. When to tell somebody is decided in `alerting.py`; the sentences
are in `alert_messages.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from statistics import median

from forecast_assets.planning import alert_messages as say
from forecast_assets.planning.alert_messages import Rule
from forecast_assets.planning.health_facts import HealthFacts, Limits, SalesDay
from warehouse.health_bounds import COMPLETE_SHARE, MISSED_DAYS

#: Days of sales needed to know on which weekdays sales come.
MIN_HISTORY_DAYS = 14

#: When a day's sales are due if no day came by itself yet: noon of the next day (UTC).
DEFAULT_DELAY = timedelta(hours=36)

#: Days that came by themselves, needed to know how long sales usually take.
MIN_DELAYS = 3

#: Sales that took longer to arrive are an archive: today's calendar does not apply to them.
ARCHIVE_DELAY = timedelta(days=30)

#: Starts of the query within an hour that are too many. It starts once a day by itself.
MANY_STARTS = 4


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
        return say.summarize(self.rule, self.subjects)


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
        Rule.OUTDATED: {row.place: say.outdated_correction(row) for row in facts.outdated},
        Rule.UNUSUAL: {
            f"{sale.store} {sale.day}": say.unusual_sale(sale.store, sale.day, sale.sales)
            for sale in facts.unusual
            if sale.store not in facts.retired
        },
    }
    return [Problem(rule, violations) for rule, violations in subjects.items() if violations]


def _late(facts: HealthFacts, limits: Limits) -> dict[str, str]:
    late = [row for row in facts.late if row.error is None and row.store not in facts.retired]
    if not late:
        return {}
    return {"": say.stale_forecasts(late, limits.open_time, facts.now)}


def _failed(facts: HealthFacts) -> dict[str, str]:
    return {
        str(row.store): say.failing_store(row.store, row.first_day, row.error)
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
    """Find the days whose sales should have come: since the newest complete day, or last week."""
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
    today = _today(facts, limits)
    day = max(min(newest, today - timedelta(days=MISSED_DAYS)), min(counts)) + timedelta(days=1)
    while day <= today:
        due = _start_of(day) + usual.delays[day.weekday()] + limits.events_grace
        expected = usual.stores[day.weekday()] > 0 and day not in complete
        if expected and facts.now > due:
            missing.append((day, due))
        day += timedelta(days=1)
    if not missing:
        return {}
    first, due = missing[0]
    came = (counts.get(first, 0), usual.stores[first.weekday()])
    return {
        "": say.missing_days(len(missing), first, came, due - limits.events_grace, newest=newest)
    }


def _silent_stores(facts: HealthFacts, limits: Limits) -> dict[str, str]:
    """Find the stores that have sent nothing while the chain went on."""
    active = {s: day for s, day in facts.newest_sales.items() if s not in facts.retired}
    if not active:
        return {}
    newest = max(active.values())
    bound = newest - timedelta(days=limits.max_age_days)
    return {
        str(store): say.silent_store(store, day) for store, day in active.items() if day < bound
    }


def _old(facts: HealthFacts, limits: Limits, usual: _Arrivals | None) -> dict[str, str]:
    """Compare the newest origin with today's calendar, and look for a model that can serve."""
    active = {s: day for s, day in facts.newest_sales.items() if s not in facts.retired}
    if not active:
        return {}
    if not facts.readable_models and _settled(facts, limits):
        return {"": say.NO_READABLE_MODEL}
    origins = [facts.origins[store] for store in active if store in facts.origins]
    if not origins or (usual is not None and usual.is_archive):
        return {}
    newest, today = max(origins), _today(facts, limits)
    if (today - newest).days <= limits.max_age_days:
        return {}
    return {"": say.old_forecasts(newest, today, newest_sales=max(active.values()))}


def _behind(facts: HealthFacts, limits: Limits) -> dict[str, str]:
    """Find the stores whose forecasts start from another day than that of their newest sales.

    An open change explains it.
    """
    if not _settled(facts, limits) or not facts.readable_models:
        return {}
    behind = {}
    for store, day in sorted(facts.newest_sales.items()):
        origin = facts.origins.get(store)
        if store in facts.retired or store in facts.waiting or origin == day:
            continue
        behind[str(store)] = say.store_behind(store, origin, day)
    return behind


def _settled(facts: HealthFacts, limits: Limits) -> bool:
    """Return whether the last refresh is long enough ago for its forecasts to be in force."""
    return facts.refreshed_at is not None and facts.now - facts.refreshed_at > limits.open_time


def _stream(facts: HealthFacts, limits: Limits) -> dict[str, str]:
    stream, silence = facts.stream, limits.stream_silence
    if stream is None or silence is None:
        return {}
    text = None
    if stream.state == "refused":
        text = say.stream_gave_up(stream.error)
    elif facts.now - stream.beat_at > silence:
        text = say.dead_stream(stream.beat_at, stream.error, stopped=stream.state == "stopped")
    elif stream.state == "stopped":
        text = None
    elif stream.failing_since is not None and facts.now - stream.failing_since > silence:
        text = say.restarting_stream(silence, stream.error)
    elif stream.starts >= MANY_STARTS:
        text = say.stream_started_often(stream.starts, stream.error)
    elif stream.behind_since is not None and facts.now - stream.behind_since > silence:
        text = say.stuck_stream(stream.lag_events, silence)
    return {} if text is None else {"": f"the stream of {stream.topic} {text}"}


def _quarantine(facts: HealthFacts, limits: Limits) -> dict[str, str]:
    newest = facts.quarantined
    if newest is None or not newest.events:
        return {}
    total = sum(newest.by_reason.values())
    if total / newest.events <= limits.quarantined_share:
        return {}
    share = limits.quarantined_share
    return {"": say.quarantined(total, newest.events, newest.by_reason, share)}
