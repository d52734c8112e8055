"""The process that ends a stack whose starter died; `processes.Watchdog` starts it."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from local_stack.processes import Processes


def watch(pipe: int, folder: Path, remove: Sequence[Path]) -> None:
    """Wait until the pipe closes, then end the stack and remove its leftover files.

    Args:
        pipe: File descriptor of the reading end; only the starter holds the other end.
        folder: The stack's folder.
        remove: Files to remove afterwards.
    """
    while os.read(pipe, 1):
        continue
    Processes(folder).stop_all()
    for path in remove:
        path.unlink(missing_ok=True)


if __name__ == "__main__":
    watch(int(sys.argv[1]), Path(sys.argv[2]), [Path(name) for name in sys.argv[3:]])
