"""What `make up` refuses before anything starts, and what `make down` leaves."""

import io
from datetime import UTC, date, datetime
from pathlib import Path

import pandas as pd
import pytest
from rich.console import Console

from local_stack import background, paths
from local_stack.background import show_status, start_background, stop_background
from local_stack.data_plan import DataPlan
from local_stack.errors import StackError
from local_stack.processes import Command, Processes
from rossmann.sample_data import sample_files


@pytest.fixture
def up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("STACKS", "UP_STACK", "DEMO_STACK", "DOTENV"):
        monkeypatch.setattr(paths, name, tmp_path / name.lower())
    paths.STACKS.mkdir()
    paths.UP_STACK.mkdir()
    return paths.UP_STACK


def test_real_sales_are_not_mixed_with_made_up_ones(up: Path, tmp_path: Path) -> None:
    (up / "data").mkdir()
    (up / "calendar.json").write_text('["2024-09-01", ""]')
    with pytest.raises(StackError, match=r"made-up sales.*`make down DELETE=1`"):
        start_background(tmp_path / "rossmann", Console())


def test_more_partitions_than_dagster_recommends_are_refused_before_anything_is_loaded(
    up: Path, tmp_path: Path
) -> None:
    sample_files(1_115, 100, date(2015, 6, 19)).write(tmp_path / "sales")
    (up / "calendar.json").write_text('["1990-01-01", ""]')
    with pytest.raises(StackError, match="the limit is 100,000"):
        start_background(tmp_path / "sales", Console())
    assert [path.name for path in up.iterdir()] == ["calendar.json"]


def test_down_deletes_data_only_when_told_to(up: Path) -> None:
    (up / "calendar.json").write_text('["2024-09-01", ""]')
    stop_background(Console())
    assert (up / "calendar.json").exists()
    stop_background(Console(), delete_data=True)
    assert not up.exists()


def test_a_dead_service_is_shown(up: Path) -> None:
    processes, console = Processes(up), Console(record=True, width=200)
    for name in ("postgres", "stream"):
        processes.start(Command(name, ["sleep", "60"], {"PATH": "/usr/bin:/bin"}))
    assert show_status(console)
    assert "DEAD" not in console.export_text()
    processes.find("stream").process().kill()
    processes._children["stream"].wait()
    assert not show_status(console)
    told = console.export_text()
    assert "DEAD" in told
    assert "stack up_stack: stream is dead; `make up` starts it again" in told
    assert "up_stack: problem: nothing can be said about the data" in told
    processes.stop_all()


def plan_until(last: date, stores: int) -> DataPlan:
    return DataPlan(
        folder=Path(),
        history_until=last,
        live=pd.DataFrame({"Date": []}),
        first_day=date(2013, 1, 1),
        calendar=(date(2013, 1, 1), last),
        stores=stores,
    )


def test_the_calendar_of_loaded_files_goes_on_after_them() -> None:
    today = datetime.now(UTC).date()
    assert background._ongoing_calendar(plan_until(today, 100)) == (date(2013, 1, 1), None)
    start, end = background._ongoing_calendar(plan_until(date(2015, 7, 31), 1115))
    assert start == date(2013, 1, 1)
    assert end == date(2016, 7, 31), "months up to today would be too many partitions"
    told = background._what_to_expect(plan_until(date(2015, 7, 31), 1115), (start, end), "http://x")
    assert "ends on 2016-07-31" in told and "quarantined" in told


def test_services_with_the_old_calendar_are_stopped_when_it_changes() -> None:
    class FakeStack:
        def __init__(self) -> None:
            self.running = {"postgres", "kafka", "stream", "code-server", "dagster-daemon"}
            self.stopped: list[str] = []

        def is_running(self, name: str) -> bool:
            return name in self.running

        def stop_service(self, name: str) -> None:
            self.stopped.append(name)

    stack, out = FakeStack(), io.StringIO()
    background._stop_for_another_calendar(
        stack,  # type: ignore[arg-type]
        (date(2013, 1, 1), None),
        Console(file=out),
    )
    assert stack.stopped == ["dagster-daemon", "code-server", "stream"]
    assert "restarting" in out.getvalue()
