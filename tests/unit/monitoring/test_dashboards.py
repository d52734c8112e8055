"""The dashboards' structure; `test_end_to_end.py` asks their queries of a working stack."""

from __future__ import annotations

import re
from typing import Any
from unittest.mock import patch

import pytest
import yaml

from forecast_assets.monitoring.dagster_database import DagsterDatabase
from forecast_assets.monitoring.dagster_metrics import DagsterSource
from forecast_assets.planning.dagster_health import DagsterFacts
from tests.support.panels import dashboards, queries
from tests.support.prometheus import MONITORING

BOARDS = dashboards()


def test_there_is_a_dashboard_for_each_question() -> None:
    assert {board["title"] for board in BOARDS.values()} == {
        "Planners' promise", "Stream", "Dagster", "Forecasts", "Platform",
    }  # fmt: skip
    uids = [board["uid"] for board in BOARDS.values()]
    assert len(set(uids)) == len(uids)


@pytest.mark.parametrize("name", BOARDS)
def test_every_panel_says_what_it_shows(name: str) -> None:
    board = BOARDS[name]
    panels: list[dict[str, Any]] = board["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    assert len({panel["title"] for panel in panels}) == len(panels)
    for panel in panels:
        assert panel["title"] and panel["description"].endswith("."), panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]
        assert panel["targets"], panel["title"]
        for target in panel["targets"]:
            assert target["expr"] and target["legendFormat"]
            assert target["datasource"] == panel["datasource"]
        assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"])


@pytest.mark.parametrize("name", BOARDS)
def test_the_data_source_is_a_variable(name: str) -> None:
    (variable,) = BOARDS[name]["templating"]["list"]
    assert (variable["type"], variable["query"]) == ("datasource", "prometheus")
    for panel in BOARDS[name]["panels"]:
        assert panel["datasource"]["uid"] == f"${{{variable['name']}}}"


@pytest.mark.parametrize("name", BOARDS)
def test_panels_lie_beside_each_other(name: str) -> None:
    taken: set[tuple[int, int]] = set()
    for panel in BOARDS[name]["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        cells = {
            (place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])
        }
        assert not cells & taken, panel["title"]
        taken |= cells


def test_dashboards_and_alerts_speak_of_metrics_that_exist() -> None:
    """A name is written in the code that serves it; a label is only seen with real data."""
    served = set(re.findall(r'"((?:forecast|stream|dagster|database)_[a-z0-9_]+)"', _code()))
    of_counters = {f"{name}_total" for name in served}
    of_histograms = {f"{name}_bucket" for name in served}
    rules = yaml.safe_load((MONITORING / "alerts.yml").read_text())["groups"]
    asked = [query for _, query in queries()]
    asked += [rule["expr"] for group in rules for rule in group["rules"]]
    names = {
        name
        for query in asked
        for name in re.findall(
            r"\b(?:forecast|stream|dagster|database)_[a-z0-9_]+\b",
            re.sub(r"\{[^}]*\}|(by|on) \([^)]*\)", "", query),
        )
    }
    assert names <= served | of_counters | of_histograms


def _code() -> str:
    root = MONITORING.parents[1]
    files = [
        *(root / "forecast_assets" / "monitoring").glob("*.py"),
        root / "forecast_service" / "telemetry.py",
        root / "streaming_job" / "metrics.py",
    ]
    text = "\n".join(path.read_text() for path in files)
    # Families whose names are put together.
    return text + "".join(f'"forecast_{name}"' for name in ("wape", "rmspe", "bias"))


def test_grafana_finds_the_files() -> None:
    provisioning = MONITORING / "grafana" / "provisioning"
    source = yaml.safe_load((provisioning / "datasources" / "prometheus.yml").read_text())
    assert source["datasources"][0]["url"] == "http://prometheus:9090"
    provider = yaml.safe_load((provisioning / "dashboards" / "files.yml").read_text())
    path = provider["providers"][0]["options"]["path"]
    composed = yaml.safe_load((MONITORING.parents[1] / "docker-compose.yml").read_text())
    mounts = composed["services"]["grafana"]["volumes"]
    assert f"./deploy/monitoring/grafana/dashboards:{path}:ro" in mounts
    assert "./deploy/monitoring/grafana/provisioning:/etc/grafana/provisioning:ro" in mounts


#: What Dagster's functions may return: one row each.
FACTS = DagsterFacts(
    open_runs=[{"job": "train", "status": "STARTED", "runs": 1, "oldest_seconds": 1.0}],
    ended_runs=[{"job": "train", "status": "SUCCESS", "runs": 1}],
    newest_runs=[
        {
            "job": "train",
            "status": "FAILURE",
            "ended_seconds": 3.0,
            "succeeded_seconds": 2.0,
            "success_took_seconds": 1.0,
        }
    ],
    ticks=[
        {
            "name": "alerts",
            "type": "SENSOR",
            "status": "FAILURE",
            "ticks_in_10_minutes": 1,
            "newest_seconds": 1.0,
        }
    ],
    switched_off=[{"name": "alerts", "type": "SENSOR"}],
    heartbeats=[{"daemon": "SENSOR", "beat_seconds": 1.0, "errors": 0}],
    checks=[{"asset": "forecasts", "name": "fresh", "status": "FAILED"}],
    size=[{"database": "dagster", "bytes": 1}],
)


def test_no_metric_has_a_label_that_prometheus_sets_itself() -> None:
    """Prometheus would rename it, and an alert would name the exporter instead of a job."""
    source = DagsterSource("postgresql://nobody@127.0.0.1/none")
    with patch.object(DagsterDatabase, "read", return_value=FACTS):
        dagster = {name for f in source.read() for s in f.samples for name in s.labels}
    assert {"dagster_job", "status", "name", "daemon", "check"} <= dagster
    assert not dagster & {"job", "instance"}
