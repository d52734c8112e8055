"""The queries of the dashboards in `deploy/monitoring`, and which of them show nothing."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

from tests.support.prometheus import MONITORING, Prometheus

DASHBOARDS = MONITORING / "grafana" / "dashboards"


def dashboards() -> dict[str, dict[str, Any]]:
    """Return the dashboards by file name."""
    return {path.stem: json.loads(path.read_text()) for path in sorted(DASHBOARDS.glob("*.json"))}


def queries() -> Iterator[tuple[str, str]]:
    """Yield each query with the place of its panel."""
    for name, board in dashboards().items():
        for panel in board["panels"]:
            for target in panel["targets"]:
                yield f"{name}: {panel['title']}", target["expr"]


def empty_panels(prometheus: Prometheus, seconds: float) -> dict[str, str]:
    """Return the queries without data, once all have some or the time is over."""
    deadline = time.monotonic() + seconds
    while True:
        empty = {place: query for place, query in queries() if not prometheus.query(query)}
        if not empty or time.monotonic() > deadline:
            return empty
        time.sleep(1)
