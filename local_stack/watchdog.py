"""The watchdog: a process that ends a stack whose starter died, even by signal 9."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from local_stack import paths
from local_stack.processes import MARKER, Processes


class Watchdog:
    """Ends a stack when its starter dies without doing so itself.

    A process in its own session waits for a pipe to close whose other end only the starter holds.
    The kernel closes it, whatever kills the starter.
    """

    def __init__(self, folder: Path, remove: Sequence[Path] = ()) -> None:
        """Start the watchdog.

        Args:
            folder: The stack's folder.
            remove: Files to remove afterwards (the `.env` of a foreground demo).
        """
        reading, self._writing = os.pipe()
        environment = {key: value for key, value in os.environ.items() if key != MARKER}
        try:
            self._process = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "local_stack.watchdog",
                    str(reading),
                    str(folder.resolve()),
                    *(str(path) for path in remove),
                ],
                cwd=paths.REPOSITORY,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=(reading,),
                start_new_session=True,
            )
        finally:
            os.close(reading)

    def dismiss(self) -> None:
        """End the watchdog and leave the stack alone."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait(timeout=10)
        os.close(self._writing)


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
