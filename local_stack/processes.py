"""Child processes of a stack: started with a log and a PID file, stopped in reverse order.

Nothing else is ever ended. A PID file records the process's start time too, since the system may
reuse the PID. Every child and its own children carry the stack's folder in their environment
(`MARKER`); it identifies what a dead service left behind (a Dagster run, a Spark JVM). What ends a
stack whose starter died is in `watchdog.py`, what writes the logs in `logs.py`.
"""

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from local_stack import logs
from local_stack.errors import StackError
from local_stack.logs import start_writer, wait_for_writer
from local_stack.private import make_private

MARKER = "LOCAL_STACK_FOLDER"
LOG_TAIL_LINES = 12
#: /proc counts start times from boot, and the boot time itself varies by a second.
START_TIME_TOLERANCE_SECONDS = 2.0
POLL_SECONDS = 0.05
#: Seconds in which a living service gets ready, or at least logs, on a busy machine of two cores.
START_SECONDS = 300.0
#: How many times its usual time a service gets to start, as long as it goes on logging.
PATIENCE = 4


@dataclass(frozen=True)
class Command:
    """How to start one service.

    Attributes:
        name: The service's name; also names its log and its PID file.
        arguments: Program and arguments.
        environment: The whole environment of the child; it inherits nothing else.
        working_directory: Where it starts; None is the stack's folder. Never the repository: its
            `.env` may be another stack's, and Dagster prefers it to the environment.
        user: Numeric user and group to run as, or None for the current ones.
        stop_signal: The signal that makes it shut down in an orderly way.
        stop_seconds: How long it may take before it is killed.
        tier: Processes of a higher tier depend on those of a lower one and are ended before
            them; those of one tier are ended in parallel.
        whole_family: Whether its descendants get the signal at the same time, because it would
            otherwise wait for them to finish their work.
    """

    name: str
    arguments: Sequence[str]
    environment: Mapping[str, str]
    working_directory: Path | None = None
    user: tuple[int, int] | None = None
    stop_signal: int = signal.SIGTERM
    stop_seconds: float = 15.0
    tier: int = 1
    whole_family: bool = False


@dataclass(frozen=True)
class Record:
    """A process as its PID file describes it."""

    name: str
    pid: int
    started: float
    order: int
    stop_signal: int
    stop_seconds: float
    tier: int = 1
    whole_family: bool = False
    program: str = ""
    writer: int = 0
    #: Size of its log when it started: what lies before is of earlier starts.
    log_start: int = 0

    def process(self) -> psutil.Process | None:
        """Return the recorded process, None if it has ended or its PID belongs to another."""
        try:
            process = psutil.Process(self.pid)
            if abs(process.create_time() - self.started) > START_TIME_TOLERANCE_SECONDS:
                return None
            return None if process.status() == psutil.STATUS_ZOMBIE else process
        except psutil.NoSuchProcess:
            return None


class Processes:
    """The processes of one stack folder."""

    def __init__(self, folder: Path) -> None:
        """Remember where things are; nothing is started yet.

        Args:
            folder: The stack's folder; PID files go to `run/` and logs to `logs/` below it.
        """
        self.folder = folder.resolve()
        self.run_folder = self.folder / "run"
        self.log_folder = self.folder / "logs"
        self._children: dict[str, subprocess.Popen[bytes]] = {}
        self._writers: dict[str, subprocess.Popen[bytes]] = {}

    # Starting ------------------------------------------------------------------------------------

    def start(self, command: Command) -> Record:
        """Start a process in its own session and append its output to its log.

        Raises:
            StackError: A process of that name is running, or the program cannot be started.
        """
        if self.find(command.name) is not None:
            raise StackError(f"{command.name} is already running in {self.folder}: stop it first.")
        make_private(self.run_folder)
        make_private(self.log_folder)
        environment = {**command.environment, MARKER: str(self.folder)}
        user, group = command.user or (None, None)
        log_start = self._log_size(command.name)
        writer = start_writer(self.log(command.name))
        try:
            child = subprocess.Popen(
                list(command.arguments),
                env=environment,
                cwd=command.working_directory or self.folder,
                stdin=subprocess.DEVNULL,
                stdout=writer.stdin,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                user=user,
                group=group,
                extra_groups=None if user is None else [],
                # Sockets and unpacked libraries in the temporary folder are its user's alone.
                umask=0o077,
            )
        except OSError as error:
            raise StackError(
                f"{command.name} cannot be started ({command.arguments[0]}): {error.strerror}."
            ) from error
        finally:
            # From now on, only the service and its children keep the pipe open.
            if writer.stdin is not None:
                writer.stdin.close()
        self._children[command.name] = child
        self._writers[command.name] = writer
        try:
            started = psutil.Process(child.pid).create_time()
        except psutil.NoSuchProcess:
            started = time.time()
        record = Record(
            name=command.name,
            pid=child.pid,
            started=started,
            order=time.time_ns(),
            stop_signal=int(command.stop_signal),
            stop_seconds=command.stop_seconds,
            tier=command.tier,
            whole_family=command.whole_family,
            program=Path(command.arguments[0]).name,
            writer=writer.pid,
            log_start=log_start,
        )
        self._write(record)
        return record

    def wait_until_ready(
        self, record: Record, check: Callable[[], bool], timeout: float, what: str
    ) -> None:
        """Wait until a started process is ready.

        Args:
            record: The process.
            check: Returns whether it is ready; must not raise for "not yet".
            timeout: Seconds to wait, up to `PATIENCE` times as long while it goes on logging: a
                busy machine makes it slow, not stuck.
            what: What readiness means, for the message.

        Raises:
            StackError: It ended, or was not ready in time; the message has the log's last lines.
        """
        started = heard = time.monotonic()
        logged = -1
        while True:
            if check():
                return
            now, size = time.monotonic(), self._log_size(record.name)
            if size != logged:
                logged, heard = size, now
            if not self.is_alive(record):
                wait_for_writer(record.writer)
                raise StackError(f"{record.name} ended before {what}; {self._log_end(record)}")
            if now > heard + timeout or now > started + PATIENCE * timeout:
                raise StackError(
                    f"{record.name} was not ready ({what}) within {now - started:.0f} s; "
                    f"{self._log_end(record)}"
                )
            time.sleep(POLL_SECONDS)

    # Looking -------------------------------------------------------------------------------------

    def log(self, name: str) -> Path:
        """Return the path of a service's log."""
        return self.log_folder / f"{name}.log"

    def _log_end(self, record: Record) -> str:
        """Return where a service's log is, and the last lines of its own start."""
        tail = self.log_tail(record.name, since=record.log_start)
        return f"its log ({self.log(record.name)}) of this start ends with:\n{tail}"

    def _log_size(self, name: str) -> int:
        path = self.log(name)
        return path.stat().st_size if path.exists() else 0

    def log_tail(self, name: str, lines: int = LOG_TAIL_LINES, since: int = 0) -> str:
        """Return the last lines of a service's log, indented; see `logs.tail`."""
        return logs.tail(self.log(name), lines, since)

    def last_message(self, record: Record) -> str | None:
        """Return the last line of a service's own start that says something; None without one."""
        return logs.last_message(self.log(record.name), record.log_start)

    def records(self) -> list[Record]:
        """Return the recorded processes in start order; delete unreadable PID files."""
        records = []
        for path in self.run_folder.glob("*.json"):
            try:
                records.append(Record(**json.loads(path.read_text())))
            except FileNotFoundError:
                # Another thread has ended that service meanwhile.
                continue
            except (ValueError, TypeError):
                # Cut short by a full disk or a crash: it identifies nothing that is safe to end.
                path.unlink(missing_ok=True)
        return sorted(records, key=lambda record: record.order)

    def find(self, name: str) -> Record | None:
        """Return the record of the living process of that name, None if there is none."""
        for record in self.records():
            if record.name == name and self.is_alive(record):
                return record
        return None

    def alive(self) -> list[Record]:
        """Return the living processes in start order."""
        return [record for record in self.records() if self.is_alive(record)]

    def is_alive(self, record: Record) -> bool:
        """Tell whether a recorded process still runs; reap it if it was a child that ended."""
        child = self._children.get(record.name)
        if child is not None and child.pid == record.pid and child.poll() is not None:
            return False
        return record.process() is not None

    # Ending --------------------------------------------------------------------------------------

    def stop(self, name: str) -> None:
        """End a process and its descendants; kill those that outlast their time."""
        self._stop([record for record in self.records() if record.name == name])

    def kill(self, name: str) -> None:
        """Kill a process with signal 9; its children have to notice by themselves."""
        record = self.find(name)
        if record is None:
            raise StackError(f"{name} is not running in {self.folder}.")
        process = record.process()
        if process is not None:
            _signal(process, signal.SIGKILL)
            _wait_gone([process], 10)
        self._reap(name)
        (self.run_folder / f"{name}.json").unlink(missing_ok=True)

    def stop_all(self) -> None:
        """End everything that this stack started, in reverse order, strays last."""
        records = self.records()[::-1]
        for tier in sorted({record.tier for record in records}, reverse=True):
            self._stop([record for record in records if record.tier == tier])
        _end(self.strays())

    def strays(self) -> list[psutil.Process]:
        """Return living processes that stem from this stack but have no PID file."""
        known = {record.pid for record in self.records()} | {os.getpid()}
        strays = []
        for process in psutil.process_iter():
            if process.pid in known:
                continue
            try:
                if (
                    process.environ().get(MARKER) == str(self.folder)
                    and process.status() != psutil.STATUS_ZOMBIE
                ):
                    strays.append(process)
            except (psutil.Error, OSError):
                # It has ended meanwhile, or is another user's and not one of ours.
                continue
        return strays

    def _stop(self, records: Sequence[Record]) -> None:
        """End processes in parallel."""
        signalled = []
        for record in records:
            process = record.process() if self.is_alive(record) else None
            if process is not None:
                family = _descendants(process)
                signalled.append((record, process, family))
                _signal(process, record.stop_signal)
                for member in family if record.whole_family else ():
                    _signal(member, record.stop_signal)
        began = time.monotonic()
        left: list[psutil.Process] = []
        for record, process, family in signalled:
            if not _wait_gone([process], began + record.stop_seconds - time.monotonic()):
                _signal(process, signal.SIGKILL)
                _wait_gone([process], 10)
            left += [member for member in family if _is_running(member)]
        # Descendants that the services did not end get a signal first, too, and are then killed.
        _end(left)
        for record in records:
            wait_for_writer(record.writer)
            self._reap(record.name)
            (self.run_folder / f"{record.name}.json").unlink(missing_ok=True)

    def _write(self, record: Record) -> None:
        path = self.run_folder / f"{record.name}.json"
        unfinished = path.with_suffix(".new")
        unfinished.write_text(json.dumps(asdict(record)))
        unfinished.replace(path)

    def _reap(self, name: str) -> None:
        writer = self._writers.pop(name, None)
        if writer is not None and writer.poll() is None:
            # A child of the service still prints.
            self._writers[name] = writer
        child = self._children.pop(name, None)
        if child is not None:
            try:
                child.wait(timeout=5)
            except subprocess.TimeoutExpired:
                self._children[name] = child


def _descendants(process: psutil.Process) -> list[psutil.Process]:
    try:
        return process.children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def _is_running(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _signal(process: psutil.Process, number: int) -> None:
    try:
        # psutil compares the start time first, so a reused PID gets no signal.
        process.send_signal(number)
    except psutil.NoSuchProcess:
        return


def _end(processes: Sequence[psutil.Process]) -> None:
    for process in processes:
        _signal(process, signal.SIGTERM)
    if not _wait_gone(processes, 3):
        for process in processes:
            _signal(process, signal.SIGKILL)
        _wait_gone(processes, 5)


def _wait_gone(processes: Sequence[psutil.Process], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while any(_is_running(process) for process in processes):
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_SECONDS)
    return True
