"""The dashboards' structure; `test_end_to_end.py` asks their queries of a working stack."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml

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
