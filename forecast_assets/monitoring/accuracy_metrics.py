"""Metrics of how good forecasts were, by lead week, and what planners' adjustments were worth.

They change when forecasts have been compared with new sales, and take seconds to read for a large
chain. So a thread reads them between scrapes, and a scrape takes what was read last. A reading that
failed or has grown old is not shown.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any

from prometheus_client.core import Metric

from forecast_assets.monitoring.families import gauge, gauges
from forecast_assets.monitoring.reading import READ_ERRORS, reading_address
from forecast_assets.redaction import redact
from forecasting.evaluation.accuracy import RECENT_DAYS, Accuracy
from warehouse import sales
from warehouse.connection import Transaction, Warehouse
from warehouse.service import accuracy as statements

log = logging.getLogger(__name__)

#: Seconds between two readings.
READ_EVERY_SECONDS = 300.0
#: Seconds after which a reading is too old to show.
SHOWN_SECONDS = 3 * READ_EVERY_SECONDS
#: Newest scored days on which forecasts are compared with the seasonal naive: the comparison reads
#: every forecast of a day, so it costs more than the sums.
NAIVE_DAYS = 7


class RecentAccuracy:
    """Recent accuracy, read in a thread of its own while somebody scrapes."""

    def __init__(self, address: str) -> None:
        """Remember where to read.

        Args:
            address: The sales database's, with the reader's role.
        """
        self._warehouse = Warehouse(reading_address(address, statement_seconds=60))
        self._lock = threading.Lock()
        self._families: list[Metric] = []
        self._begun_at = self._read_at = -math.inf
        self._reader: threading.Thread | None = None

    def newest(self) -> list[Metric]:
        """Return what was read last, nothing if that is old, and read anew when it is due."""
        now = time.monotonic()
        with self._lock:
            is_reading = self._reader is not None and self._reader.is_alive()
            if not is_reading and now - self._begun_at >= READ_EVERY_SECONDS:
                self._begun_at = now
                self._reader = threading.Thread(target=self._read, name="accuracy", daemon=True)
                self._reader.start()
            return self._families if now - self._read_at < SHOWN_SECONDS else []

    def wait(self, seconds: float) -> None:
        """Wait until the reading in progress has ended."""
        if self._reader is not None:
            self._reader.join(seconds)

    def _read(self) -> None:
        families: list[Metric] = []
        try:
            with self._warehouse.transaction() as transaction:
                families = list(_families(transaction))
        except READ_ERRORS as error:
            log.error("no metrics of accuracy: %s", redact(str(error)))
        with self._lock:
            self._families, self._read_at = families, time.monotonic()


def _families(transaction: Transaction) -> Iterable[Metric]:
    newest = transaction.rows(statements.NEWEST, (None,))
    if not newest:
        return
    kind, last = newest[0]["kind"], newest[0]["last_day"]
    first = last - timedelta(days=RECENT_DAYS - 1)
    rows = transaction.rows(statements.BY_LEAD, (kind, None, first, last))
    yield gauge("forecast_accuracy_read_timestamp_seconds", "When accuracy was read.", time.time())
    yield gauges(
        "forecast_scored_forecasts",
        f"Forecasts of the {RECENT_DAYS} newest scored days, by kind.",
        ("kind",),
        [((kind,), Accuracy.of(rows).forecasts)],
    )
    yield from _by_lead(rows)
    start = last - timedelta(days=NAIVE_DAYS - 1)
    yield _skill(
        transaction.rows(statements.BY_LEAD, (kind, None, start, last)),
        transaction.rows(statements.NAIVE_BY_LEAD, (kind, sales.stores(transaction), start, last)),
    )
    yield from _value_added(transaction.rows(statements.VALUE_ADDED, (None, None, first, last)))


def _by_lead(rows: list[dict[str, Any]]) -> Iterable[Metric]:
    measured = {str(row["lead_week"]): Accuracy.of([row]) for row in rows}
    measured["all"] = Accuracy.of(rows)
    labels = ("lead_week",)
    for name, text in (
        ("wape", "Sum of absolute errors over the sum of sales"),
        ("rmspe", "Root mean square percentage error"),
        ("bias", "Sum of forecasts over the sum of sales, minus one"),
    ):
        yield gauges(
            f"forecast_{name}",
            f"{text}, over the {RECENT_DAYS} newest scored days.",
            labels,
            (((lead,), _finite(getattr(one, name))) for lead, one in measured.items()),
        )
    yield gauges(
        "forecast_coverage",
        f"Share of the {RECENT_DAYS} newest scored days inside the interval of a level.",
        (*labels, "level"),
        (
            ((lead, str(level)), _finite(getattr(one, f"coverage_{level}")))
            for lead, one in measured.items()
            for level in (80, 95)
        ),
    )


def _skill(model: list[dict[str, Any]], naive: list[dict[str, Any]]) -> Metric:
    """Return one minus the forecasts' WAPE over the seasonal naive's, on the same days."""
    errors = {row["lead_week"]: row["absolute_error"] for row in naive}
    both = [(row, errors[row["lead_week"]]) for row in model if row["lead_week"] in errors]
    samples = [((str(row["lead_week"]),), _gain(row["absolute_error"], n)) for row, n in both]
    total = sum(row["absolute_error"] for row, _ in both), sum(n for _, n in both)
    return gauges(
        "forecast_skill",
        f"1 - WAPE / WAPE of the seasonal naive, over the {NAIVE_DAYS} newest scored days; "
        "0 is as good as the naive, 1 is perfect.",
        ("lead_week",),
        [*samples, (("all",), _gain(*total))],
    )


def _value_added(rows: list[Mapping[str, Any]] | list[dict[str, Any]]) -> Iterable[Metric]:
    # By reason, not by author: names of people do not belong in metrics.
    reasons: dict[str, list[Mapping[str, Any]]] = {"all": list(rows)} if rows else {}
    for row in rows:
        reasons.setdefault(row["reason"], []).append(row)
    sums = {
        reason: {
            name: sum(float(row[name]) for row in of_reason)
            for name in ("days", "sales", "model_error", "adjusted_error")
        }
        for reason, of_reason in reasons.items()
    }
    yield gauges(
        "forecast_value_added",
        "WAPE of the model minus WAPE of the adjusted forecasts; positive: adjusting helped.",
        ("reason",),
        (
            ((reason,), (total["model_error"] - total["adjusted_error"]) / total["sales"])
            for reason, total in sums.items()
            if total["sales"]
        ),
    )
    yield gauges(
        "forecast_adjusted_days",
        f"Adjusted days among the {RECENT_DAYS} newest scored days.",
        ("reason",),
        [(("all",), 0.0)]
        if not sums
        else (((reason,), total["days"]) for reason, total in sums.items()),
    )


def _gain(error: float, reference: float) -> float | None:
    return 1 - error / reference if reference else None


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
