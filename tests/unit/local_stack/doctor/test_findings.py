"""What a finding says of dead services and of long errors."""

import shlex
import time
from datetime import date
from pathlib import Path

import pytest

from forecast_assets.planning.dagster_health import DagsterFacts
from local_stack.doctor import graph
from local_stack.doctor.findings import Finding, Severity, problem
from local_stack.doctor.services import examine_services
from local_stack.processes import Command
from local_stack.stack import Stack


def start(stack: Stack, name: str, *lines: str, lives: bool = False) -> None:
    script = f"printf '%s\\n' {shlex.join(lines)}; " if lines else ""
    record = stack.processes.start(
        Command(name, ["sh", "-c", script + ("sleep 60" if lives else "exit 1")], PATH)
    )
    if not lives:
        stack.processes._children[record.name].wait()
        stack.processes._writers[record.name].wait()


PATH = {"PATH": "/usr/bin:/bin"}


def found_by(stack: Stack) -> dict[str, Finding]:
    attached = Stack.attach(stack.folder, (date(2026, 1, 1), None))
    return {one.part: one for one in examine_services(attached)}


def test_a_dead_service_is_quoted_by_its_last_message(tmp_path: Path) -> None:
    stack = Stack(tmp_path)
    try:
        start(
            stack, "kafka", "ERROR no space", "\tat kafka.Log.append(Log.scala:12)", "\t... 8 more"
        )
        start(stack, "postgres")
        (tmp_path / "mlflow").mkdir()
        stack.mlflow.port_file.write_text("1")
        start(stack, "mlflow", lives=True)
        found = found_by(stack)
    finally:
        stack.stop()
    assert found["kafka"].says == "it has died; last in its log: ERROR no space"
    assert found["postgres"].says == "it has died and wrote nothing to its log"
    # Nothing is wrong with what cannot answer without PostgreSQL: one repair, not two.
    assert found["mlflow"].says == "its process runs and does not answer"
    assert found["mlflow"].remedy == "`make up` first, since it needs postgres"


def test_a_finding_is_one_line_however_long_the_error() -> None:
    error = "\n(psycopg2.OperationalError) connection refused\n\tIs it running?\n[SQL: SELECT 1]\n"
    found = problem("code", error, "mend it")
    assert found.says == "(psycopg2.OperationalError) connection refused"
    assert Finding("code", Severity.OK, " \n").says == "no message"


def test_a_check_that_repeats_a_health_rule_is_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    class Database:
        def __init__(self, url: str) -> None:
            assert url == "reader"

        def read(self) -> DagsterFacts:
            names = ("few_quarantined", "day_complete")
            return DagsterFacts(
                heartbeats=[{"daemon": "SENSOR", "beat_seconds": time.time(), "errors": False}],
                checks=[{"name": n, "asset": "raw_sales", "status": "FAILED"} for n in names],
            )

        def close(self) -> None:
            return

    monkeypatch.setattr(graph, "DagsterDatabase", Database)

    def failed(told: set[str]) -> list[str]:
        return [one.says for one in graph.examine_dagster("reader", told) if "check" in one.says]

    quarantined, complete = (
        f"the check {name} of raw_sales failed" for name in ("few_quarantined", "day_complete")
    )
    assert failed(set()) == [quarantined, complete]
    assert failed({"quarantine"}) == [complete]
