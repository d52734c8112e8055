"""What the doctor says of disk, memory, ports and files."""

import json
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import closing
from datetime import date
from pathlib import Path

import psutil
import pytest
from rich.console import Console

from local_stack.doctor import examination, machine, services
from local_stack.doctor.databases import examine_clock
from local_stack.doctor.findings import Severity, ok, problem, warning, worst
from local_stack.private import make_private, write_private
from local_stack.processes import Command, Record
from local_stack.stack import Stack


@pytest.fixture
def stack(tmp_path: Path) -> Stack:
    made = Stack(tmp_path / "up", (date(2024, 1, 1), None))
    make_private(made.folder)
    return made


@pytest.fixture
def foreign_port() -> Iterator[int]:
    with closing(socket.socket()) as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        yield server.getsockname()[1]


@pytest.mark.parametrize(
    ("free", "severity"), [(10**8, Severity.PROBLEM), (2 * 10**9, Severity.WARNING), (10**11, 0)]
)
def test_a_disk_that_fills_is_told(tmp_path: Path, free: int, severity: int) -> None:
    (found,) = machine.examine_space(tmp_path, free)
    assert found.severity == severity
    assert bool(found.remedy) == bool(severity)


def test_little_memory_and_a_wrong_clock_are_told() -> None:
    assert worst(machine.examine_memory(10**8)) is Severity.WARNING
    assert worst(machine.examine_memory(10**10)) is Severity.OK
    assert worst(examine_clock(0.5)) is Severity.OK
    (behind,) = examine_clock(-90)
    assert behind.severity is Severity.PROBLEM
    assert "90 s behind" in behind.says


def test_a_port_that_another_program_has_is_told_with_its_name(
    stack: Stack, foreign_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert worst(machine.examine_ports(stack)) is Severity.OK
    stack.dagster.port_file.parent.mkdir()
    stack.dagster.port_file.write_text(str(foreign_port))
    (found,) = machine.examine_ports(stack)
    assert found.severity is Severity.WARNING
    assert f"port {foreign_port}, which dagster-webserver had" in found.says
    assert f"(PID {os.getpid()})" in found.says
    monkeypatch.setenv("STACK_SERVICE_PORT", str(foreign_port))
    asked = [one for one in machine.examine_ports(stack) if one.severity is Severity.PROBLEM]
    assert [one.says.split(" is taken")[0] for one in asked] == [
        f"STACK_SERVICE_PORT={foreign_port}"
    ]


def test_files_that_others_can_read_are_told(stack: Stack, tmp_path: Path) -> None:
    dotenv = tmp_path / ".env"
    write_private(dotenv, "SECRET=x")
    make_private(stack.folder / "service")
    write_private(stack.folder / "service" / "token", "secret")
    assert worst(machine.examine_files(stack.folder, dotenv)) is Severity.OK
    (stack.folder / "service" / "token").chmod(0o644)
    dotenv.chmod(0o640)
    stack.folder.chmod(0o755)
    found = list(machine.examine_files(stack.folder, dotenv))
    assert {one.severity for one in found} == {Severity.PROBLEM}
    assert len(found) == 3
    assert any("chmod 700" in one.remedy for one in found)


def test_a_dead_service_is_a_problem_with_its_last_words(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_private(stack.processes.run_folder)
    make_private(stack.processes.log_folder)
    record = Record("kafka", pid=2**22 + 1, started=0.0, order=1, stop_signal=15, stop_seconds=1)
    (stack.processes.run_folder / "kafka.json").write_text(json.dumps(record.__dict__))
    stack.processes.log("kafka").write_text("fine\nNo space left on device\n")
    found = {one.part: one for one in examination.examine(stack, None)}
    assert found["kafka"].severity is Severity.PROBLEM
    assert "last in its log: No space left on device" in found["kafka"].says
    assert found["stream"].says == "it is not running"
    # Nothing is asked of a database that is away.
    assert "schema" not in found


def test_a_log_that_nobody_writes_is_told(stack: Stack) -> None:
    sleeper = [sys.executable, "-c", "import time; time.sleep(60)"]
    try:
        record = stack.processes.start(Command("stream", sleeper, {"PATH": os.environ["PATH"]}))
        found = {one.part: one for one in services.examine_services(stack)}
        assert found["stream"] == ok("stream", "runs")
        stack.processes._writers["stream"].kill()
        stack.processes._writers["stream"].wait(10)
        assert not psutil.pid_exists(record.writer)
        found = {one.part: one for one in services.examine_services(stack)}
        assert found["stream"].says == "what writes its log has died"
    finally:
        stack.processes.stop_all()


def test_a_stack_that_is_down_is_no_problem(stack: Stack) -> None:
    found = {one.part: one for one in examination.examine(stack, None)}
    assert "nothing is running" in found["services"].says
    assert found["services"].severity is Severity.OK


def test_the_answer_names_the_worst_and_what_to_do() -> None:
    findings = [ok("disk", "free"), warning("ports", "taken", "free it"), problem("x", "bad", "do")]
    assert worst(findings) == 2
    assert worst(findings[:2]) == 1
    assert worst(findings[:1]) == worst([]) == 0
    told = json.loads(examination.as_json(findings))
    assert told["worst"] == "problem"
    assert told["findings"][1] == {
        "part": "ports",
        "severity": "warning",
        "says": "taken",
        "remedy": "free it",
    }
    console = Console(record=True, width=200)
    examination.show(findings, console)
    lines = console.export_text().splitlines()
    assert lines[1].split() == ["warning", "ports", "taken", "→", "free", "it"]
    assert lines[-1] == "1 problems, 1 warnings"
