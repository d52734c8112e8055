"""A log of bounded size, and the process that writes one: `log_writer.py LOG BYTES FILES`.

Each service prints into a pipe, and one such process reads it to its end. Nothing is lost when the
log is rotated, whatever the service is written in, since the service never holds the file itself.
It is started without site-packages, so that it costs little: only the standard library, and of this
project nothing.
"""

import os
import signal
import sys
from contextlib import suppress
from pathlib import Path

#: Bytes of a log before it is rotated, and how many files are kept, the newest included. The
#: containers' logs have the same bounds in docker-compose.yml.
MAX_BYTES, FILES = 10 * 1024**2, 3
#: Bytes to read at a time: what a pipe holds.
CHUNK_BYTES = 65_536


class RotatingLog:
    """A log that is renamed to LOG.1 when it is full, LOG.1 to LOG.2, and so on."""

    def __init__(self, path: Path, max_bytes: int = MAX_BYTES, files: int = FILES) -> None:
        """Open the log to append to it; one that is full already is rotated first.

        Args:
            path: The log.
            max_bytes: Its size; the line that crosses it still goes into the file.
            files: How many files to keep, the newest included.
        """
        self.path = path
        self._max_bytes = max_bytes
        self._files = files
        self._lost = 0
        self._reason = ""
        self._descriptor = -1
        self._open()
        if self._size() >= max_bytes:
            self._rotate()

    def write(self, data: bytes) -> None:
        """Append data; where the disk takes none, count what is lost and go on.

        A service must never wait for its log, nor end because of it.
        """
        while data:
            size = self._size()
            cut = data.find(b"\n", max(0, self._max_bytes - size - 1)) + 1
            is_full = size + len(data) >= self._max_bytes
            if is_full and not cut and size + len(data) >= 2 * self._max_bytes:
                cut = len(data)
            if not is_full or not cut:
                self._append(data)
                return
            self._append(data[:cut])
            data = data[cut:]
            self._rotate()

    def close(self) -> None:
        """Close the file."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _append(self, data: bytes) -> None:
        try:
            if self._descriptor < 0:
                self._open()
            if self._lost:
                note = f"[{self._lost} bytes of this log were lost: {self._reason}]\n".encode()
                _write_all(self._descriptor, note)
                self._lost = 0
            _write_all(self._descriptor, data)
        except OSError as error:
            self._lost += len(data)
            self._reason = error.strerror or "an error"

    def _open(self) -> None:
        self._descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def _size(self) -> int:
        """Return the size of the file; begin another one if somebody has moved this one away."""
        try:
            named = self.path.stat()
            if self._descriptor >= 0 and not os.path.samestat(named, os.fstat(self._descriptor)):
                # The writer of an earlier process of the service has rotated it.
                self.close()
            return named.st_size
        except OSError:
            self.close()
            return 0

    def _rotate(self) -> None:
        self.close()
        names = [self.path, *(self.path.with_name(f"{self.path.name}.{n}") for n in range(1, 100))]
        for number in range(self._files - 1, 0, -1):
            # A name that is missing has nothing to move; any other failure shows when writing.
            with suppress(OSError):
                names[number - 1].replace(names[number])
        with suppress(OSError):
            self._open()


def _write_all(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]


def main(log: str, max_bytes: str, files: str) -> None:
    """Copy standard input to a log until every process that prints into it has ended."""
    # Ctrl-C and `kill` are for the services: their last lines are wanted most.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    writing = RotatingLog(Path(log), int(max_bytes), int(files))
    while data := os.read(0, CHUNK_BYTES):
        writing.write(data)
    writing.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
