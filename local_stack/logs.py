"""Starting the processes that write the services' logs, and waiting for the last lines.

What such a process does is in `log_writer.py`.
"""

import subprocess
import sys
from pathlib import Path

import psutil

from local_stack import log_writer

#: Seconds to wait for the last lines of a service that has ended.
WRITER_SECONDS = 2.0


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
