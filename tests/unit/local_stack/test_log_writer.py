"""Logs stay within their bounds, and nothing of what a service prints is lost at a rotation."""

import errno
import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from local_stack import log_writer
from local_stack.log_writer import RotatingLog
from local_stack.processes import Command, Processes

LINES = [f"line {number:06d} of this log\n".encode() for number in range(2_000)]


def files_of(path: Path) -> list[Path]:
    """The log's files, oldest first."""
    numbered = sorted(path.parent.glob(f"{path.name}.*"), key=lambda one: -int(one.suffix[1:]))
    return [*numbered, path]


def all_lines(path: Path) -> list[bytes]:
    return [line for one in files_of(path) for line in one.read_bytes().splitlines(keepends=True)]


def test_a_rotation_loses_nothing_and_cuts_no_line(tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    writing = RotatingLog(log, max_bytes=4_096, files=100)
    data = b"".join(LINES)
    # Pieces that end anywhere in a line, as a pipe hands them on.
    for start in range(0, len(data), 777):
        writing.write(data[start : start + 777])
    writing.close()
    assert all_lines(log) == LINES
    assert len(files_of(log)) > 10
    for one in files_of(log):
        assert one.stat().st_size <= 4_096 + len(LINES[0])
        assert one.stat().st_mode & 0o777 == 0o600
    for one in files_of(log)[:-1]:
        assert one.read_bytes().endswith(b"\n")


def test_only_so_many_files_are_kept_and_they_are_the_newest(tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    writing = RotatingLog(log, max_bytes=4_096, files=3)
    for line in LINES:
        writing.write(line)
    writing.close()
    kept = all_lines(log)
    assert sorted(one.name for one in files_of(log)) == ["a.log", "a.log.1", "a.log.2"]
    assert kept == LINES[-len(kept) :]


def test_a_line_without_an_end_is_bounded_too(tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    writing = RotatingLog(log, max_bytes=1_000, files=3)
    for _ in range(100):
        writing.write(b"x" * 100)
    writing.close()
    assert sum(one.stat().st_size for one in files_of(log)) <= 3 * 2_000


def test_a_log_that_grew_before_is_rotated_at_the_start(tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    log.write_bytes(b"old\n" * 1_000)
    writing = RotatingLog(log, max_bytes=1_000, files=3)
    writing.write(b"new\n")
    writing.close()
    assert log.read_bytes() == b"new\n"
    assert (tmp_path / "a.log.1").stat().st_size == 4_000


def test_two_writers_of_one_log_lose_nothing(tmp_path: Path) -> None:
    """A killed service's children go on printing while its successor starts."""
    log = tmp_path / "a.log"
    before, after = (RotatingLog(log, max_bytes=2_000, files=100) for _ in range(2))
    for number, line in enumerate(LINES):
        (before if number % 3 else after).write(line)
    assert sorted(all_lines(log)) == LINES


def test_a_full_disk_stops_no_service_and_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tmp_path / "a.log"
    writing = RotatingLog(log)

    def full(_descriptor: int, _data: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "write", full)
        writing.write(b"lost\n")
        writing.write(b"too\n")
    writing.write(b"kept\n")
    writing.close()
    assert log.read_text() == "[9 bytes of this log were lost: No space left on device]\nkept\n"


PRINTER = """
import subprocess, sys
for number in range(60_000):
    print(f"line {number:06d} of this log, which is long enough to fill some files soon")
print("last words", flush=True)
"""


def test_a_services_log_is_rotated_while_it_prints(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_writer, "MAX_BYTES", 400_000)
    monkeypatch.setattr(log_writer, "FILES", 50)
    processes = Processes(tmp_path)
    record = processes.start(
        Command("printer", [sys.executable, "-c", PRINTER], {"PATH": os.environ["PATH"]})
    )
    writer = psutil.Process(record.writer)
    deadline = time.monotonic() + 60
    while writer.is_running() and writer.status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    lines = all_lines(processes.log("printer"))
    assert len(files_of(processes.log("printer"))) > 5
    assert len(lines) == 60_001
    assert lines == [*sorted(lines[:-1]), b"last words\n"]
    processes.stop_all()


def test_a_writer_outlives_signals_and_ends_with_its_input(tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    writer = subprocess.Popen(
        [sys.executable, "-I", "-S", log_writer.__file__, str(log), "1000", "3"],
        stdin=subprocess.PIPE,
    )
    assert writer.stdin is not None
    writer.stdin.write(b"first\n")
    writer.stdin.flush()
    deadline = time.monotonic() + 20
    while not log.exists() or not log.read_bytes():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    writer.terminate()
    writer.stdin.write(b"last\n")
    writer.stdin.close()
    assert writer.wait(20) == 0
    assert log.read_bytes() == b"first\nlast\n"
