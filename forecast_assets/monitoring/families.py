"""Short ways to write metric families."""

from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime, time

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

#: Values of the labels, and the value; without a value there is no sample.
Sample = tuple[Sequence[str], float | None]


def gauge(name: str, text: str, value: float | None) -> Metric:
    """Return a gauge without labels."""
    return gauges(name, text, (), [((), value)])


def gauges(name: str, text: str, labels: Sequence[str], samples: Iterable[Sample]) -> Metric:
    """Return a gauge with labels."""
    return _filled(GaugeMetricFamily(name, text, labels=labels), samples)


def counters(name: str, text: str, labels: Sequence[str], samples: Iterable[Sample]) -> Metric:
    """Return a counter with labels; its samples' names get `_total`."""
    return _filled(CounterMetricFamily(name, text, labels=labels), samples)


def _filled(family: GaugeMetricFamily | CounterMetricFamily, samples: Iterable[Sample]) -> Metric:
    for values, value in samples:
        if value is not None:
            family.add_metric(values, value)
    return family


def seconds(moment: datetime | date | None) -> float | None:
    """Return a moment as Unix seconds, a day as those of its start (UTC)."""
    if moment is None:
        return None
    if not isinstance(moment, datetime):
        moment = datetime.combine(moment, time(), UTC)
    return moment.timestamp()
