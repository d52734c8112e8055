"""Which services are started for which, and what a failure leaves behind."""

import sys
import time
from datetime import date
from pathlib import Path

import pytest

from local_stack import stack as stacks
from local_stack.errors import StackError
from local_stack.processes import Command
from local_stack.stack import NEEDS, Stack


def test_what_is_needed_comes_along() -> None:
    assert stacks.with_needs({"stream"}) == {"stream", "postgres", "kafka"}
    assert stacks.with_needs({"postgres"}) == {"postgres"}
    assert stacks.with_needs(stacks.SERVICES) == set(NEEDS)


def test_an_unknown_service_is_named() -> None:
    with pytest.raises(StackError, match="zookeeper is no service"):
        stacks.with_needs({"zookeeper"})


class Recorded(Stack):
    """A stack whose services only note when they start."""

    fail: str | None = None

    def _start_one(self, name: str) -> None:
        self.log.append(name)
        time.sleep(0.02)
        if name == self.fail:
            raise StackError(f"{name} is broken")

    @property
    def log(self) -> list[str]:
        return self.__dict__.setdefault("_log", [])


def test_services_start_after_what_they_need(tmp_path: Path) -> None:
    stack = Recorded(tmp_path)
    told: list[str] = []
    stack.start_services(stacks.SERVICES, told.append)
    for name, needs in NEEDS.items():
        for need in needs:
            assert stack.log.index(need) < stack.log.index(name)
    assert sorted(told) == sorted(f"{name} is ready" for name in NEEDS)


def test_a_failure_keeps_what_depends_on_it_from_starting(tmp_path: Path) -> None:
    stack = Recorded(tmp_path)
    stack.fail = "postgres"
    with pytest.raises(StackError, match="postgres is broken"):
        stack.start_services(stacks.SERVICES)
    assert set(stack.log) <= {"postgres", "kafka"}


def test_a_failure_ends_only_what_it_has_started(tmp_path: Path) -> None:
    stack = Recorded(tmp_path)
    ran = Command("kafka", [sys.executable, "-c", "import time; time.sleep(60)"], {})
    started = Command("postgres", [sys.executable, "-c", "import time; time.sleep(60)"], {})
    try:
        kept = stack.processes.start(ran)
        stack.fail = "stream"
        with (
            pytest.raises(StackError, match="stream is broken"),
            pytest.MonkeyPatch.context() as patch,
        ):
            patch.setattr(
                stack,
                "_start_one",
                lambda name: (
                    stack.processes.start(started)
                    if name == "postgres"
                    else Recorded._start_one(stack, name)
                ),
            )
            stack.start_services({"stream"})
        assert stack.processes.alive() == [kept]
    finally:
        stack.processes.stop_all()


def test_the_environment_names_only_what_runs(tmp_path: Path) -> None:
    values = Stack(tmp_path, (date(2024, 9, 1), None)).environment
    assert "OWNER_DATABASE_URL" not in values
    assert values["SALES_CALENDAR_START"] == "2024-09-01"
    assert values["SALES_CALENDAR_END"] == ""
    assert Path(values["DAGSTER_HOME"]).is_absolute()


def test_a_full_disk_is_refused_before_anything_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stacks, "NEEDED_BYTES", 2**60)
    with pytest.raises(StackError, match=r"MB left, and the stack's data needs about"):
        Stack.start(tmp_path / "stack", {"postgres"})
    assert not list((tmp_path / "stack").iterdir())
