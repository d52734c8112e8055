"""`make backup` and `make restore`: an archive of the embedded stack, and the way back.

Belongs to an archive: the databases of sales, Dagster and MLflow, MLflow's artifacts, the calendar
and the made-up files. Does not: passwords and tokens (a stack makes its own), Kafka's events (the
ledger says which ones the restored sales know), Spark's checkpoints (every start makes a new one
from the ledger), logs.
"""

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from local_stack import paths
from local_stack.backup import restoring
from local_stack.backup.archive import Manifest
from local_stack.backup.saving import Addresses, default_name, save
from local_stack.errors import StackError
from local_stack.kafka import NAME as KAFKA
from local_stack.ledger_place import NEW_TOPIC_HINT, compare_with_broker
from local_stack.postgres import NAME as POSTGRES
from local_stack.postgres_data import SUPERUSER
from local_stack.stack import Stack
from local_stack.watchdog import Watchdog
from streaming_job.errors import StreamError

Say = Callable[[str], None]

_START = "`make up` starts it"
_START_WITH_A_NEW_TOPIC = (
    "start it once with `make up NEW_TOPIC=1`, and from then on with `make up`"
)


def save_stack(stack: Stack, target: Path | None, say: Say) -> Path:
    """Make an archive of a stack, which may go on running meanwhile.

    Args:
        stack: The stack.
        target: The archive; None names it by the time, in the folder `backups`.
        say: Called with what was done.

    Returns:
        The archive.

    Raises:
        StackError: There is nothing to back up, or the archive could not be made.
    """
    path = target or paths.BACKUPS / default_name()
    if not stack.postgres.files.is_initialised():
        raise StackError(f"{stack.folder} holds no data to back up: `make up` starts a stack.")
    with _postgres(stack):
        manifest = save(
            path,
            _addresses(stack),
            stack.postgres.files.binaries(),
            {"artifacts": stack.mlflow.artifacts, "data": stack.folder / "data"},
            _calendar(stack.folder),
        )
    rows = sum(manifest.rows.values())
    say(f"{path}: {path.stat().st_size / 1e6:,.1f} MB, {rows:,} rows of the sales database")
    for row in manifest.offsets:
        if not row.topic.startswith("file:"):
            say(f"the ledger goes to {row.topic}-{row.topic_partition} offset {row.next_offset}")
    return path


@dataclass(frozen=True)
class Restored:
    """What was restored, and how to go on.

    Attributes:
        manifest: The archive's manifest.
        next_step: A sentence with the command that starts the restored stack.
    """

    manifest: Manifest
    next_step: str


def restore_stack(stack: Stack, path: Path, *, replace: bool, say: Say) -> Restored:
    """Restore an archive into a stack that is down, and say where the stream will go on.

    Args:
        stack: The stack; its folder may be empty.
        path: The archive.
        replace: Whether its data may be replaced.
        say: Called with what was done.

    Returns:
        The archive's manifest, and the command that starts the stack.

    Raises:
        StackError: It is running, holds data, or the archive does not fit.
    """
    alive = [record.name for record in stack.processes.alive()]
    if alive:
        raise StackError(f"The stack is running ({', '.join(alive)}): end it with `make down`.")
    if not replace and (stack.folder / "calendar.json").exists():
        raise StackError(
            f"{stack.folder} holds a stack's data: back it up, then restore with --replace (make "
            "restore REPLACE=1), which deletes it."
        )
    stack.close_folders()
    with _postgres(stack):
        manifest = restoring.restore(
            path,
            restoring.Target(
                _addresses(stack),
                stack.postgres.url(SUPERUSER, "postgres"),
                stack.postgres.files.binaries(),
                stack.mlflow.artifacts,
                stack.processes.log("migrations"),
            ),
            replace=replace,
            say=say,
        )
        restoring.replace_folder(path, "data", stack.folder / "data")
        # No start would use them; what is left of them would only puzzle whoever looks.
        shutil.rmtree(stack.folder / "checkpoints", ignore_errors=True)
        if manifest.calendar is not None:
            (stack.folder / "calendar.json").write_text(json.dumps(manifest.calendar))
        next_step = _compare_with_broker(stack, say)
    return Restored(manifest, next_step)


def _compare_with_broker(stack: Stack, say: Say) -> str:
    """Say what the stream will find in Kafka: events to read again, lost ones, another topic.

    Returns:
        The next step.
    """
    if not stack.kafka.data.exists():
        say(
            "Kafka has no data here, so its topic will be a new one: have what was sent after the "
            "backup sent again"
        )
        return _START_WITH_A_NEW_TOPIC
    try:
        stack.start_services({KAFKA}, lambda line: None)
        found = compare_with_broker(stack)
    except (StackError, StreamError) as error:
        say(f"Kafka could not be compared with the ledger: {error}")
        return f"{_START}; if the stream then refuses: {NEW_TOPIC_HINT}"
    if found.refusal is not None:
        say(f"the stream will refuse: {found.refusal}")
        return f"the stream refuses this topic; {NEW_TOPIC_HINT}"
    say(f"Kafka holds {found.waiting:,} offsets after the ledger's: the stream reads them again")
    if found.expired:
        say(
            f"retention has deleted {found.expired:,} events that the archive lacks: the stream "
            "counts them as expired; have them sent again"
        )
    return _START


@contextmanager
def _postgres(stack: Stack) -> Iterator[None]:
    """Have PostgreSQL run, and stop what was started for it; its schema stays as it is."""
    if stack.is_running(POSTGRES):
        yield
        return
    watchdog = Watchdog(stack.folder)
    try:
        stack.postgres.start()
        yield
    finally:
        stack.stop()
        watchdog.dismiss()


def _addresses(stack: Stack) -> Addresses:
    return Addresses(
        stack.postgres.url("sales_owner", "sales"),
        stack.postgres.url("dagster", "dagster"),
        stack.postgres.url("mlflow", "mlflow"),
    )


def _calendar(folder: Path) -> list[str] | None:
    path = folder / "calendar.json"
    if not path.exists():
        return None
    start, end = json.loads(path.read_text())
    return [start, end]
