"""Reading the facts that the health rules judge; checks, alerts and `make status` start here.

The rules are in `planning/health.py`, the statements in `warehouse/health.py`.
"""

from __future__ import annotations

from datetime import UTC, timedelta
from typing import TYPE_CHECKING, Any

from forecast_assets.planning.health import Problem, problems
from forecast_assets.planning.health_facts import (
    HealthFacts,
    LateStore,
    Limits,
    OutdatedCorrection,
    Quarantined,
    SalesDay,
    StreamState,
    UnusualSale,
)
from forecast_assets.redaction import redact
from forecast_assets.settings import Settings

if TYPE_CHECKING:
    from warehouse.connection import Transaction

#: How long an unconfirmed sale of an unusual size is listed.
UNUSUAL_TIME = timedelta(days=90)


def limits_of(config: Settings) -> Limits:
    """Return the limits that the settings ask for."""
    silence = config.stream_silence_minutes
    return Limits(
        open_time=timedelta(minutes=config.max_open_minutes),
        max_age_days=config.max_age_days,
        quarantined_share=config.max_quarantined_share,
        stream_silence=None if silence is None else timedelta(minutes=silence),
        events_grace=timedelta(hours=config.events_grace_hours),
        calendar_end=config.calendar_end,
    )


def read_facts(transaction: Transaction, config: Settings) -> HealthFacts:
    """Read everything that the rules look at."""
    from warehouse import changes, health, models, sales

    now = health.now(transaction)
    today = now.astimezone(UTC).date()
    days = [SalesDay(**row) for row in health.arrivals(transaction, today)]
    newest = days[-1].day if days else today
    stores = sales.stores(transaction)
    stream = health.stream(transaction)
    events, by_reason = health.quarantined(transaction)
    unusual = (
        []
        if config.unusual_factor is None
        else health.unusual_sales(transaction, newest - UNUSUAL_TIME)
    )
    return HealthFacts(
        now=now,
        late=[
            LateStore(
                row["store"],
                row["first_day"],
                row["error"] and redact(row["error"]),
                row["made_at"],
            )
            for row in changes.overdue(transaction, config.max_open_minutes)
        ],
        days=days,
        newest_sales=sales.newest_days(transaction, "raw_sales", stores, until=newest),
        origins=health.origins(transaction),
        waiting=frozenset(health.waiting_stores(transaction)),
        refreshed_at=health.refreshed_at(transaction),
        readable_models=models.count_pooled(transaction),
        stream=_stream_state(stream) if stream else None,
        quarantined=Quarantined(events, by_reason) if events else None,
        outdated=[OutdatedCorrection(**row) for row in health.outdated_corrections(transaction)],
        unusual=[UnusualSale(row["store"], row["date"], row["sales"]) for row in unusual],
        retired=frozenset(health.retired_stores(transaction)),
    )


def _stream_state(row: dict[str, Any]) -> StreamState:
    return StreamState(**{**row, "error": row["error"] and redact(row["error"])})


def find_problems(transaction: Transaction, config: Settings) -> list[Problem]:
    """Read the facts and return the rules that they violate."""
    return problems(read_facts(transaction, config), limits_of(config))
