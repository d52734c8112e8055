"""Starting the processes that write the services' logs, waiting for the last lines, reading them.

What such a process does is in `log_writer.py`.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import psutil

from local_stack import log_writer

#: Seconds to wait for the last lines of a service that has ended.
WRITER_SECONDS = 2.0
#: How much of a log's end is read.
TAIL_BYTES = 16_384
#: Lines of Java's and Python's stack traces that name places, and rows of signs.
_FRAME = re.compile(r"\s*(at \S+\(.*|\.\.\. \d+ .*|File \".*\", line \d+.*|\W*)")


def start_writer(log: Path) -> subprocess.Popen[bytes]:
    """Start what writes a service's log; it ends with the last process that prints into it.

    Without the stack's marker in its environment it is no stray: whoever ends strays wants their
    last lines.
    """
    # Whoever waits for a service reads its log, which the writer opens only after some moments.
    log.touch(mode=0o600)
    return subprocess.Popen(
        # -I and -S: neither the environment nor site-packages, which would cost memory and time.
        [
            *(sys.executable, "-I", "-S", log_writer.__file__),
            *(str(log), str(log_writer.MAX_BYTES), str(log_writer.FILES)),
        ],
        env={},
        cwd="/",
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        umask=0o077,
    )


def wait_for_writer(pid: int) -> None:
    """Wait until the last lines of a service that has ended are in its log.

    Args:
        pid: The writer's process id; 0 for a service without one.
    """
    if not pid:
        return
    try:
        psutil.Process(pid).wait(WRITER_SECONDS)
    except (psutil.NoSuchProcess, psutil.TimeoutExpired):
        # It has ended already, or a child of the service still prints.
        return


def tail(log: Path, lines: int, since: int = 0) -> str:
    """Return the last lines of a log, indented.

    Args:
        log: The log; it may be missing.
        lines: How many.
        since: Bytes at its beginning that are of earlier starts.
    """
    if not log.exists():
        return "  (no log)"
    found = _last_lines(log, since)[-lines:]
    return "\n".join(f"  {line}" for line in found) or "  (it wrote nothing)"


def last_message(log: Path, since: int = 0) -> str | None:
    """Return the last line of a log that says something; the frames of a stack trace do not.

    Args:
        log: The log; it may be missing.
        since: Bytes at its beginning that are of earlier starts.
    """
    found = _last_lines(log, since) if log.exists() else []
    return next((line.strip() for line in reversed(found) if not _FRAME.fullmatch(line)), None)


def _last_lines(log: Path, since: int) -> list[str]:
    with log.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        # A log that is shorter has begun anew meanwhile.
        file.seek(max(since if since <= size else 0, size - TAIL_BYTES))
        return file.read().decode("utf-8", "replace").splitlines()
