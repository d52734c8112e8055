"""Metrics of the sales database: the health rules' verdicts, ledger, refreshes, champion.

Verdicts come from the rules that checks, alerts and `make status` use as well. How good forecasts
were takes longer to read and is in `accuracy_metrics.py`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

from prometheus_client.core import Metric

from forecast_assets.monitoring.accuracy_metrics import RecentAccuracy
from forecast_assets.monitoring.families import counters, gauge, gauges, seconds
from forecast_assets.monitoring.reading import READ_ERRORS, reading_address
from forecast_assets.monitoring.sources import SourceError
from forecast_assets.planning.alert_messages import Rule
from forecast_assets.planning.health import problems
from forecast_assets.planning.health_facts import HealthFacts, StreamState
from forecast_assets.settings import Settings
from forecast_assets.steps.health import limits_of, read_facts
from warehouse import health, models, monitoring, sales
from warehouse.connection import Transaction, Warehouse

#: What the stream's driver says of itself, as in `sales.stream_heartbeats`.
STREAM_STATES = ("starting", "running", "restarting", "refused", "stopped")


class SalesSource:
    """The sales database, as the reader's role."""

    name = "sales"

    def __init__(self, address: str, config: Settings) -> None:
        """Remember where to read and the limits of the rules.

        Args:
            address: The sales database's, with the reader's role.
            config: The settings that the checks have as well.
        """
        self._warehouse = Warehouse(reading_address(address, statement_seconds=5))
        self._config = config
        self.accuracy = RecentAccuracy(address)

    def read(self) -> list[Metric]:
        """Return the metrics of the sales database.

        Raises:
            SourceError: The database cannot be read.
        """
        try:
            with self._warehouse.transaction() as transaction:
                families = self._families(transaction)
        except READ_ERRORS as error:
            raise SourceError(str(error)) from error
        # Only while the database answers: nothing from before shows when it is away.
        return [*families, *self.accuracy.newest()]

    def _families(self, transaction: Transaction) -> list[Metric]:
        facts = read_facts(transaction, self._config)
        return [
            self._verdicts(facts),
            *_stores(facts, len(sales.stores(transaction))),
            *_changes(transaction, facts),
            *_refreshes(transaction),
            *_arrivals(facts),
            *_stream(facts.stream),
            *_ledger(monitoring.ledger(transaction)),
            *_champion(models.champion(transaction)),
            *_server(transaction),
        ]

    def _verdicts(self, facts: HealthFacts) -> Metric:
        found = {p.rule: len(p.subjects) for p in problems(facts, limits_of(self._config))}
        return gauges(
            "forecast_problem",
            "What violates a rule of health, such as stores; 0 where the rule is kept.",
            ("rule",),
            # That the database is away, `forecast_database_up` says.
            (((rule.value,), found.get(rule, 0)) for rule in Rule if rule is not Rule.DATABASE),
        )


def _stores(facts: HealthFacts, stores: int) -> Iterable[Metric]:
    late = [row for row in facts.late if row.store not in facts.retired]
    active_origins = [day for store, day in facts.origins.items() if store not in facts.retired]
    yield gauges(
        "forecast_stores",
        "Stores by state; late: a change has waited too long, failing: its refresh fails.",
        ("state",),
        [
            (("active",), stores - len(facts.retired)),
            (("retired",), len(facts.retired)),
            (("waiting",), len(facts.waiting - facts.retired)),
            (("late",), sum(row.error is None for row in late)),
            (("failing",), sum(row.error is not None for row in late)),
        ],
    )
    yield gauge(
        "forecast_newest_origin_timestamp_seconds",
        "The newest day whose sales forecasts in force have seen.",
        seconds(max(active_origins, default=None)),
    )
    yield gauge(
        "forecast_oldest_origin_timestamp_seconds",
        "The same of the store whose forecasts are the oldest.",
        seconds(min(active_origins, default=None)),
    )
    yield gauge(
        "forecast_newest_sales_timestamp_seconds",
        "The newest day with sales.",
        seconds(max(facts.newest_sales.values(), default=None)),
    )


def _changes(transaction: Transaction, facts: HealthFacts) -> Iterable[Metric]:
    yield gauge(
        "forecast_open_changes",
        "Changes that no refresh has closed.",
        health.open_changes(transaction),
    )
    yield gauge(
        "forecast_oldest_open_change_timestamp_seconds",
        "When the oldest open change was made; absent if none is open.",
        seconds(monitoring.oldest_open_change(transaction)),
    )
    delays = monitoring.delays(transaction)
    yield gauges(
        "forecast_delay_seconds",
        "From the commit of a change to that of its forecasts, closed within a day, by quantile.",
        ("kind", "quantile"),
        (
            ((row["kind"], f"{quantile:g}"), value)
            for row in delays
            for quantile, value in zip(monitoring.DELAY_QUANTILES, row["seconds"], strict=True)
        ),
    )
    yield gauges(
        "forecast_closed_changes",
        "Changes closed within a day.",
        ("kind",),
        (((row["kind"],), row["changes"]) for row in delays),
    )
    yield gauge(
        "forecast_refreshed_timestamp_seconds",
        "When the newest refresh committed its forecasts.",
        seconds(facts.refreshed_at),
    )


def _refreshes(transaction: Transaction) -> Iterable[Metric]:
    newest = monitoring.newest_refresh(transaction)
    yield gauge(
        "forecast_refresh_seconds",
        "How long the newest finished refresh took.",
        newest["seconds"] if newest else None,
    )
    yield gauge(
        "forecast_refreshed_stores",
        "Stores of the newest finished refresh.",
        newest["stores"] if newest else None,
    )


def _arrivals(facts: HealthFacts) -> Iterable[Metric]:
    newest = facts.quarantined
    yield gauge(
        "forecast_arrived_events",
        "The topic's events of the last 24 hours before the newest one came.",
        newest.events if newest else 0,
    )
    yield gauges(
        "forecast_quarantined_events",
        "Those of them that were quarantined, by reason.",
        ("reason",),
        (((reason,), count) for reason, count in (newest.by_reason if newest else {}).items()),
    )


def _stream(stream: StreamState | None) -> Iterable[Metric]:
    known = [] if stream is None else [stream]
    labels = ("topic",)
    yield gauges(
        "stream_heartbeat_timestamp_seconds",
        "The newest sign of life of the stream's driver.",
        labels,
        (((s.topic,), seconds(s.beat_at)) for s in known),
    )
    yield gauges(
        "stream_state",
        "What the driver said of itself then: 1 for its state.",
        ("topic", "state"),
        (((s.topic, state), float(s.state == state)) for s in known for state in STREAM_STATES),
    )
    yield gauges(
        "stream_starts",
        "Starts of the query within an hour.",
        labels,
        (((s.topic,), s.starts) for s in known),
    )
    yield gauges(
        "stream_waiting_events",
        "Events that waited in Kafka at the newest sign of life.",
        labels,
        (((s.topic,), s.lag_events) for s in known),
    )
    yield gauges(
        "stream_failing_since_timestamp_seconds",
        "Since when the query fails; absent while it runs.",
        labels,
        (((s.topic,), seconds(s.failing_since)) for s in known),
    )


def _ledger(rows: list[dict[str, Any]]) -> Iterable[Metric]:
    labels = ("topic", "topic_partition")

    def of(row: dict[str, Any]) -> tuple[str, str]:
        return row["topic"], str(row["topic_partition"])

    yield gauges(
        "stream_ledger_next_offset",
        "The offset that the stream takes next.",
        labels,
        ((of(row), row["next_offset"]) for row in rows),
    )
    yield counters(
        "stream_ledger_offsets",
        "Offsets taken, by what became of them.",
        (*labels, "outcome"),
        (
            ((*of(row), outcome), row[outcome])
            for row in rows
            for outcome in ("stored", "quarantined", "gaps", "expired")
        ),
    )
    yield gauges(
        "stream_ledger_advanced_timestamp_seconds",
        "When a topic-partition last advanced.",
        labels,
        ((of(row), seconds(row["updated_at"])) for row in rows),
    )


def _champion(champion: models.Champion | None) -> Iterable[Metric]:
    known = [] if champion is None else [champion]
    yield gauges(
        "forecast_champion_info",
        "The pooled model that serves: always 1.",
        ("version", "recipe"),
        (((c.version, c.recipe), 1.0) for c in known),
    )
    yield gauge(
        "forecast_champion_created_timestamp_seconds",
        "When the pooled model that serves was stored.",
        seconds(champion.created_at if champion else None),
    )
    yield gauge(
        "forecast_champion_calibrated_wape",
        "Its WAPE on past origins, as its training measured it.",
        champion.metrics.get("wape") if champion else None,
    )


def _server(transaction: Transaction) -> Iterable[Metric]:
    database, size = monitoring.size(transaction)
    yield gauges("database_size_bytes", "Size of a database.", ("database",), [((database,), size)])
    open_by_role = Counter[str]()
    for row in monitoring.connections(transaction):
        open_by_role[row["role"]] += row["connections"]
    limits = {row["role"]: row["connections"] for row in monitoring.connection_limits(transaction)}
    yield gauges(
        "database_connections",
        "Open connections of a role that has a limit.",
        ("role",),
        (((role,), open_by_role[role]) for role in limits),
    )
    yield gauges(
        "database_connection_limit",
        "The most connections that a role may open.",
        ("role",),
        (((role,), limit) for role, limit in limits.items()),
    )
