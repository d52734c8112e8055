"""The facts that the health rules look at, and the limits that the settings draw.

Read by `steps/health.py`, judged by `health.py`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta


@dataclass(frozen=True)
class Limits:
    """The settings of the rules.

    Attributes:
        open_time: How long a change may stay open.
        max_age_days: How many days the newest origin may lie behind today.
        quarantined_share: The share of a day's events that may be quarantined.
        stream_silence: How long the stream may show no life or progress; None if the chain runs
            no stream.
        events_grace: How much later than usual sales may come.
        calendar_end: The last day of the calendar; None if it is open.
    """

    open_time: timedelta = timedelta(minutes=15)
    max_age_days: int = 3
    quarantined_share: float = 0.05
    stream_silence: timedelta | None = timedelta(minutes=5)
    events_grace: timedelta = timedelta(hours=3)
    calendar_end: date | None = None


@dataclass(frozen=True)
class LateStore:
    """A store with a change that no refresh has processed in time; `error` if refreshes fail.

    Attributes:
        store: The store.
        first_day: The first day that changed.
        error: Why its refresh fails; None if none has failed.
        made_at: When the oldest of its changes was made.
    """

    store: int
    first_day: date
    error: str | None = None
    made_at: datetime | None = None


@dataclass(frozen=True)
class SalesDay:
    """How many stores' sales of a day have come, and when half of them had."""

    day: date
    stores: int
    arrived: datetime


@dataclass(frozen=True)
class StreamState:
    """The newest heartbeat of the stream's driver.

    Attributes:
        topic: The topic that it reads.
        state: starting, running, restarting, refused or stopped.
        beat_at: When it was written.
        starts: Starts of the query within the last hour.
        failing_since: When the first of its failures in a row was; None while it runs.
        behind_since: Since when events have waited without any being stored.
        lag_events: Events that wait.
        error: Why it restarted or refused last.
    """

    topic: str
    state: str
    beat_at: datetime
    starts: int = 0
    failing_since: datetime | None = None
    behind_since: datetime | None = None
    lag_events: int = 0
    error: str | None = None


@dataclass(frozen=True)
class Quarantined:
    """What became of the events of the newest day on which any came.

    Attributes:
        events: All of them.
        by_reason: The quarantined ones, by reason code.
    """

    events: int
    by_reason: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class OutdatedCorrection:
    """A correction that does not count, because it was sent before what it corrects.

    Attributes:
        store: The store.
        day: The day that it corrects.
        sales: What it says; None if it is a plan.
        sent: Its time.
        kept_sales: What counts instead.
        kept_sent: The time of that.
        place: Its topic, topic-partition and offset.
    """

    store: int
    day: date
    sales: int | None
    sent: datetime
    kept_sales: int | None
    kept_sent: datetime
    place: str


@dataclass(frozen=True)
class UnusualSale:
    """A sale many times its store's usual one, or a small part of it, that nobody confirmed."""

    store: int
    day: date
    sales: int


@dataclass(frozen=True)
class HealthFacts:
    """What the rules look at.

    Attributes:
        now: The database's clock.
        late: Stores with a change that has waited for too long or failed.
        days: The newest weeks of sales, ascending.
        newest_sales: The newest day with sales of each store.
        origins: The origin in force of each store.
        waiting: Stores with an open change.
        refreshed_at: When the newest refresh finished.
        readable_models: Pooled models that this version of the code can read.
        stream: The stream's heartbeat; None if none has ever run.
        quarantined: The newest day's events; None if none has come.
        outdated: Recent corrections that do not count.
        unusual: Recent unconfirmed sales of an unusual size.
        retired: Stores that are closed for good.
    """

    now: datetime
    late: Sequence[LateStore] = ()
    days: Sequence[SalesDay] = ()
    newest_sales: Mapping[int, date] = field(default_factory=dict)
    origins: Mapping[int, date] = field(default_factory=dict)
    waiting: frozenset[int] = frozenset()
    refreshed_at: datetime | None = None
    readable_models: int = 1
    stream: StreamState | None = None
    quarantined: Quarantined | None = None
    outdated: Sequence[OutdatedCorrection] = ()
    unusual: Sequence[UnusualSale] = ()
    retired: frozenset[int] = frozenset()
