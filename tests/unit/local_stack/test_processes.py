"""Processes are started, watched and ended by what their PID files say, and no others."""

import json
import os
import signal
import sys
import time
from pathlib import Path
from types import ModuleType

import psutil
import pytest

from local_stack import (
    code_server,
    dagster_processes,
    forecast_api,
    kafka,
    mlflow_server,
    postgres,
    stream,
)
from local_stack.errors import StackError
from local_stack.logs import wait_for_writer
from local_stack.processes import MARKER, Command, Processes
from local_stack.watchdog import Watchdog

SLEEPER = [sys.executable, "-c", "import time; time.sleep(60)"]
STUBBORN = [
    sys.executable,
    "-c",
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
    "print('deaf', flush=True); time.sleep(60)",
]
PARENT = [
    sys.executable,
    "-c",
    "import subprocess, sys, time; "
    "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'], "
    "start_new_session=True); print('ready', flush=True); time.sleep(60)",
]


@pytest.fixture
def processes(tmp_path: Path):
    made = Processes(tmp_path)
    yield made
    made.stop_all()


def command(name: str, arguments: list[str], **more: object) -> Command:
    return Command(
        name=name,
        arguments=arguments,
        environment={"PATH": os.environ["PATH"]},
        **more,  # type: ignore[arg-type]
    )


def is_gone(process: psutil.Process) -> bool:
    # An orphan is reaped by init, in its own time.
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


def wait_for_log(processes: Processes, name: str, word: str) -> None:
    deadline = time.monotonic() + 20
    while word not in processes.log_tail(name):
        assert time.monotonic() < deadline, processes.log_tail(name)
        time.sleep(0.02)


def test_a_service_starts_where_no_env_file_of_another_stack_lies(processes: Processes) -> None:
    says_where = "import os; print('in', os.getcwd(), flush=True)"
    processes.start(command("where", [sys.executable, "-c", says_where]))
    wait_for_log(processes, "where", f"in {processes.folder}")


def test_what_a_service_creates_is_its_users_alone(processes: Processes) -> None:
    before = os.umask(0)
    try:
        processes.start(command("a", [sys.executable, "-c", "import os; print(oct(os.umask(0)))"]))
    finally:
        os.umask(before)
    wait_for_log(processes, "a", "0o77")


def test_a_started_process_is_found_and_ended(processes: Processes) -> None:
    record = processes.start(command("sleeper", SLEEPER))
    assert processes.find("sleeper") == record
    processes.stop("sleeper")
    assert not psutil.pid_exists(record.pid)
    assert processes.records() == []


def test_a_second_of_the_same_name_is_refused(processes: Processes) -> None:
    processes.start(command("sleeper", SLEEPER))
    with pytest.raises(StackError, match="already running"):
        processes.start(command("sleeper", SLEEPER))


def test_a_program_that_is_not_there_is_named(processes: Processes) -> None:
    with pytest.raises(StackError, match=r"absent cannot be started \(/no/such\)"):
        processes.start(command("absent", ["/no/such"]))
    assert processes.records() == []


def test_one_that_does_not_listen_is_killed(processes: Processes) -> None:
    record = processes.start(command("stubborn", STUBBORN, stop_seconds=0.3))
    wait_for_log(processes, "stubborn", "deaf")
    processes.stop("stubborn")
    assert not psutil.pid_exists(record.pid)


def test_children_in_sessions_of_their_own_end_too(processes: Processes) -> None:
    record = processes.start(command("parent", PARENT))
    wait_for_log(processes, "parent", "ready")
    (child,) = psutil.Process(record.pid).children()
    processes.stop("parent")
    assert is_gone(child)


def test_orphans_are_found_by_their_marker(processes: Processes) -> None:
    record = processes.start(command("parent", PARENT))
    wait_for_log(processes, "parent", "ready")
    (child,) = psutil.Process(record.pid).children()
    processes.kill("parent")
    assert child.is_running()
    assert [stray.pid for stray in processes.strays()] == [child.pid]
    processes.stop_all()
    assert is_gone(child)


def test_another_folders_processes_are_left_alone(processes: Processes, tmp_path: Path) -> None:
    other = Processes(tmp_path / "other")
    record = other.start(command("sleeper", SLEEPER))
    processes.stop_all()
    assert other.find("sleeper") == record
    other.stop_all()


def test_a_reused_pid_is_never_ended(processes: Processes) -> None:
    victim = psutil.Popen(SLEEPER)
    try:
        record = processes.start(command("sleeper", SLEEPER))
        path = processes.run_folder / "sleeper.json"
        stale = json.loads(path.read_text()) | {"name": "stale", "pid": victim.pid, "started": 1.0}
        (processes.run_folder / "stale.json").write_text(json.dumps(stale))
        assert processes.find("stale") is None
        processes.stop_all()
        assert victim.is_running()
        assert not psutil.pid_exists(record.pid)
        assert processes.records() == []
    finally:
        victim.kill()
        victim.wait()


def test_a_pid_file_cut_short_is_dropped(processes: Processes) -> None:
    processes.run_folder.mkdir()
    (processes.run_folder / "broken.json").write_text('{"name": "bro')
    assert processes.records() == []
    assert not (processes.run_folder / "broken.json").exists()


def test_readiness_fails_with_the_logs_last_lines(processes: Processes) -> None:
    record = processes.start(
        command("short", [sys.executable, "-c", "print('why it ended'); raise SystemExit(3)"])
    )
    with pytest.raises(StackError, match=r"(?s)short ended before.*why it ended"):
        processes.wait_until_ready(record, lambda: False, 20, "being ready")


def test_readiness_has_a_timeout(processes: Processes) -> None:
    record = processes.start(command("sleeper", SLEEPER))
    with pytest.raises(StackError, match="was not ready"):
        processes.wait_until_ready(record, lambda: False, 0.1, "being ready")


def test_a_service_that_goes_on_logging_gets_more_time(processes: Processes) -> None:
    busy = "import time\nfor k in range(200): print(k, flush=True); time.sleep(0.02)"
    record = processes.start(command("busy", [sys.executable, "-c", busy]))
    log = processes.log("busy")
    processes.wait_until_ready(record, lambda: b"\n60\n" in log.read_bytes(), 0.8, "being ready")
    with pytest.raises(StackError, match=r"was not ready \(ending\) within"):
        processes.wait_until_ready(record, lambda: False, 0.2, "ending")


def test_nothing_but_the_given_environment_is_passed_on(
    processes: Processes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("A_SECRET", "x")
    record = processes.start(command("sleeper", SLEEPER))
    assert set(psutil.Process(record.pid).environ()) <= {"PATH", MARKER, "LC_CTYPE"}


def test_higher_tiers_end_first(processes: Processes) -> None:
    says_when = (
        "import signal, sys, time, pathlib\n"
        "def ended(*_):\n"
        "    pathlib.Path(sys.argv[1]).write_text(str(time.monotonic())); sys.exit()\n"
        "signal.signal(signal.SIGTERM, ended); print('ready', flush=True); time.sleep(60)"
    )
    times = {}
    for tier, name in ((0, "base"), (1, "user")):
        path = processes.folder / name
        arguments = [sys.executable, "-c", says_when, str(path)]
        processes.start(command(name, arguments, tier=tier))
        wait_for_log(processes, name, "ready")
        times[name] = path
    processes.stop_all()
    assert float(times["user"].read_text()) < float(times["base"].read_text())


def test_the_watchdog_ends_all_when_its_pipe_closes(processes: Processes, tmp_path: Path) -> None:
    leftover = tmp_path / "leftover"
    leftover.touch()
    record = processes.start(command("sleeper", SLEEPER))
    child = psutil.Process(record.pid)
    watchdog = Watchdog(tmp_path, [leftover])
    os.close(watchdog._writing)
    # The watchdog is no parent of the sleeper here, so this test reaps it.
    os.waitpid(child.pid, 0)
    deadline = time.monotonic() + 10
    while leftover.exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    watchdog._process.wait(timeout=10)


def test_a_dismissed_watchdog_touches_nothing(processes: Processes, tmp_path: Path) -> None:
    processes.start(command("sleeper", SLEEPER))
    Watchdog(tmp_path).dismiss()
    time.sleep(0.3)
    assert processes.find("sleeper") is not None


def test_stop_uses_the_commands_own_signal(processes: Processes) -> None:
    program = (
        "import signal, sys\n"
        "def ended(*_):\n"
        "    print('fast shutdown', flush=True); sys.exit()\n"
        "signal.signal(signal.SIGINT, ended)\n"
        "print('ready', flush=True); signal.pause()"
    )
    processes.start(command("server", [sys.executable, "-c", program], stop_signal=signal.SIGINT))
    wait_for_log(processes, "server", "ready")
    processes.stop("server")
    assert "fast shutdown" in processes.log_tail("server")


def test_only_lines_of_this_start_are_quoted(processes: Processes) -> None:
    log = processes.log("service")
    log.parent.mkdir(parents=True)
    log.write_text("ERROR of an earlier start\n")
    record = processes.start(command("service", SLEEPER))
    with pytest.raises(StackError) as silent:
        processes.wait_until_ready(record, lambda: False, 0.1, "being ready")
    assert "earlier start" not in str(silent.value)
    assert str(silent.value).endswith("(it wrote nothing)")
    processes.stop("service")
    record = processes.start(command("service", [sys.executable, "-c", "exit('its own words')"]))
    with pytest.raises(StackError, match="its own words") as ended:
        processes.wait_until_ready(record, lambda: False, 60, "being ready")
    assert "earlier start" not in str(ended.value)


def test_the_last_message_is_no_frame_of_a_trace(processes: Processes) -> None:
    trace = (
        "ERROR the disk is full",
        "java.io.IOException: No space left",
        "\tat kafka.Log.append(Log.scala:12)",
        "\t... 8 more",
        "",
    )
    record = processes.start(
        command("service", [sys.executable, "-c", "\n".join(f"print({line!r})" for line in trace)])
    )
    wait_for_writer(record.writer)
    assert processes.last_message(record) == "java.io.IOException: No space left"
    processes.stop("service")
    silent = processes.start(command("silent", [sys.executable, "-c", "exit(1)"]))
    wait_for_writer(silent.writer)
    assert processes.last_message(silent) is None


@pytest.mark.parametrize(
    "module",
    [
        code_server,
        dagster_processes,
        forecast_api,
        kafka,
        mlflow_server,
        postgres,
        stream,
    ],
)
def test_a_start_has_five_minutes_as_long_as_its_process_lives(module: ModuleType) -> None:
    assert module.START_SECONDS >= 300
