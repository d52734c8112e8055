"""What a scrape reads: sources of metrics, and the collector that asks them.

A source that cannot be read gives no numbers at all, and `forecast_database_up` says so: a number
from before would look as good as a new one.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol

from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from forecast_assets.monitoring.families import gauges
from forecast_assets.redaction import redact

log = logging.getLogger(__name__)


class SourceError(Exception):
    """A source cannot be read; the message says why."""


class Source(Protocol):
    """Something to read metrics from.

    Attributes:
        name: The database.
    """

    name: str

    def read(self) -> list[Metric]:
        """Return the metrics as they are now.

        Raises:
            SourceError: The source cannot be read.
        """
        ...


class StackCollector(Collector):
    """Asks every source at each scrape."""

    def __init__(self, sources: Sequence[Source]) -> None:
        """Remember the sources."""
        self._sources = sources
        self._is_read = dict.fromkeys((source.name for source in sources), True)

    def describe(self) -> Iterable[Metric]:
        """Return nothing, so that registering reads no database."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Return all metrics of the sources that can be read."""
        up: dict[str, float] = {}
        took: dict[str, float] = {}
        merged: dict[str, Metric] = {}
        for source in self._sources:
            started = time.perf_counter()
            families = self._read(source)
            took[source.name] = time.perf_counter() - started
            up[source.name] = float(families is not None)
            for family in families or ():
                # Several databases have a size; a name may appear once.
                known = merged.setdefault(family.name, family)
                if known is not family:
                    known.samples.extend(family.samples)
        yield from merged.values()
        labels = ("database",)
        yield gauges(
            "forecast_database_up",
            "Whether this scrape could read the database; if not, its metrics are absent.",
            labels,
            (((name,), value) for name, value in up.items()),
        )
        yield gauges(
            "forecast_database_read_seconds",
            "Seconds that this scrape needed to read the database.",
            labels,
            (((name,), value) for name, value in took.items()),
        )

    def _read(self, source: Source) -> list[Metric] | None:
        try:
            families = source.read()
        except SourceError as error:
            if self._is_read[source.name]:
                log.error("no metrics of %s: %s", source.name, redact(str(error)))
            self._is_read[source.name] = False
            return None
        if not self._is_read[source.name]:
            log.info("metrics of %s are back", source.name)
        self._is_read[source.name] = True
        return families
