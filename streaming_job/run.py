"""The always-on stream: keep a query running, restart it from the ledger, report progress.

`drain` is the bounded way; `source.plan_start` decides where a query starts.
"""

from __future__ import annotations

import logging
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType

from py4j.protocol import Py4JError  # type: ignore[import-untyped]
from pyspark.sql import SparkSession
from pyspark.sql.streaming import StreamingQuery

from streaming_job import lag, ledger, query, session, source, unreadable
from streaming_job.drain import ensure_monthly_tables
from streaming_job.errors import (
    RefusedError,
    RestartError,
    SettingsError,
    SparkDiedError,
    StreamError,
    UnavailableError,
    UnreadableTimeError,
)
from streaming_job.failures import to_stream_error
from streaming_job.heartbeat import Heartbeat
from streaming_job.ledger_rows import Counts
from streaming_job.settings import StreamSettings

log = logging.getLogger(__name__)

#: Pauses between attempts, in seconds. They double up to the longest: an attempt costs two
#: connections, and whoever repairs PostgreSQL waits for the next one.
FIRST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 10.0
#: How often to check whether the query still runs.
POLL_SECONDS = 0.2
#: How long a stop waits for the running batch.
BATCH_PATIENCE_SECONDS = 10.0
#: With an open-ended calendar, the query restarts this often to create the next monthly tables.
TABLES_EVERY_SECONDS = 24 * 3600.0


@dataclass(frozen=True)
class Progress:
    """The state of the stream.

    Attributes:
        counts: What became of the offsets since the topic's first event.
        rows_per_second: Events stored or quarantined per second since the last report.
        lag: Events that wait in Kafka, those of open transactions included, by topic-partition.
        quarantined_by_reason: Events in quarantine.
        last_commit: Unix seconds at which a topic-partition last advanced.
        outdated_corrections: Corrections that arrived late and lost by their time.
        batch_seconds: How long the newest batch with events took; None before the first.
    """

    counts: Counts
    rows_per_second: float
    lag: dict[int, int]
    quarantined_by_reason: dict[str, int]
    last_commit: float
    outdated_corrections: int = 0
    batch_seconds: float | None = None

    def summary(self) -> str:
        """Return one line for the log."""
        return (
            f"stored {self.counts.stored:,}, quarantined {self.counts.quarantined:,}, "
            f"lag {sum(self.lag.values()):,} events, {self.rows_per_second:,.0f} rows/s"
        )


class _Backoff:
    """Pauses that double, and that a stop ends."""

    def __init__(self, stopping: threading.Event) -> None:
        self._stopping = stopping
        self.reset()

    def reset(self) -> None:
        """Begin with the first pause again."""
        self._seconds = FIRST_PAUSE_SECONDS

    def pause(self, reason: object, action: str) -> None:
        """Log the reason and what happens next, and wait."""
        log.warning("%s; %s in %.0f s", reason, action, self._seconds)
        self._stopping.wait(self._seconds)
        self._seconds = min(self._seconds * 2, LONGEST_PAUSE_SECONDS)


@dataclass
class Supervisor:
    """A stream that runs until `stopping` is set.

    Attributes:
        settings: The stream's settings.
        on_progress: Called about every `progress_seconds`.
        accept_recreated_topic: Applies to the first start only.
        progress_seconds: Seconds between two reports.
        stopping: Set it to stop after the running batch.
        starts: Number of times that the query was started from the ledger.
    """

    settings: StreamSettings
    on_progress: Callable[[Progress], None] | None = None
    accept_recreated_topic: bool = False
    progress_seconds: float = 5.0
    stopping: threading.Event = field(default_factory=threading.Event)
    starts: int = 0
    # When the last report was made, and the events handled until then.
    _last_report: tuple[float, int] | None = None
    # Next offset of each topic-partition when the ledger was last read.
    _known_offsets: dict[int, int] = field(default_factory=dict)
    _batch_seconds: float | None = None
    # Whether the last query met an event that Spark cannot read.
    _is_unreadable: bool = False
    _heartbeat: Heartbeat = field(init=False)

    def __post_init__(self) -> None:
        self._heartbeat = Heartbeat(self.settings)

    def run(self, spark: SparkSession | None = None) -> None:
        """Run until `stopping` is set.

        Args:
            spark: A running session; without it, the call starts one and stops it again.

        Raises:
            RefusedError: A person must decide something first.
            SettingsError: Spark cannot start with these settings.
            SparkDiedError: Spark's Java process died.
        """
        self._heartbeat.beat("starting")
        try:
            # A refusal should not wait for Spark to start.
            self._wait_until_ready()
            running = spark or session.build_session(self.settings)
            try:
                self._supervise(running)
            finally:
                if spark is None:
                    _stop_spark(running)
        except (RefusedError, SettingsError) as error:
            self._heartbeat.beat("refused", failing=True, error=error)
            raise
        except Exception as error:
            self._heartbeat.beat("stopped", failing=True, error=error)
            raise
        self._heartbeat.beat("stopped", failing=False)

    def _wait_until_ready(self) -> None:
        """Retry until PostgreSQL and Kafka answer, or a stop."""
        backoff = _Backoff(self.stopping)
        while not self.stopping.is_set():
            try:
                ensure_monthly_tables(self.settings)
                self._plan()
                return
            except UnavailableError as error:
                self._heartbeat.beat("starting", failing=True, error=error)
                backoff.pause(error, "trying again")

    def _plan(self) -> source.Start:
        start = source.plan_start(self.settings, accept_recreated_topic=self.accept_recreated_topic)
        self.accept_recreated_topic = False
        return start

    def _supervise(self, spark: SparkSession) -> None:
        backoff = _Backoff(self.stopping)
        last_offsets: dict[int, int] = {}
        while not self.stopping.is_set():
            try:
                ensure_monthly_tables(self.settings)
                start = self._plan()
                if start.offsets != last_offsets:
                    # The previous query committed something. Only failures in a row lengthen the
                    # pause.
                    last_offsets = start.offsets
                    backoff.reset()
                if self._is_unreadable:
                    self._is_unreadable = False
                    unreadable.take_unreadable(self.settings, start)
                    start = self._plan()
                self._run_query(spark, start)
            except (RefusedError, SettingsError):
                raise
            except Exception as error:  # whatever failed, a restart from the ledger is safe
                if self.stopping.is_set():
                    # A signal to the whole process group ends Java too. PostgreSQL rolls back
                    # the open transactions, and the next start reads their events again.
                    log.info("the last batch was interrupted: %s", to_stream_error(error))
                    return
                if not _is_alive(spark):
                    raise SparkDiedError(
                        "Spark's Java process died: start the stream again; "
                        "it continues from the ledger"
                    ) from error
                reason = error if isinstance(error, StreamError) else to_stream_error(error)
                if isinstance(reason, RefusedError):
                    raise reason from error
                self._is_unreadable = isinstance(reason, UnreadableTimeError)
                self._heartbeat.beat("restarting", failing=True, error=reason)
                backoff.pause(reason, "restarting from the ledger")

    def _run_query(self, spark: SparkSession, start: source.Start) -> None:
        """Start a query and watch it until it fails, a stop, or its tables are due.

        Raises:
            Exception: The query failed.
        """
        began = time.monotonic()
        running = query.start_query(spark, start, self.settings)
        self.starts += 1
        self._heartbeat.beat("running", started=True)
        self._known_offsets = dict(start.offsets)
        log.info(
            "the stream is running: topic %s (stream %d) from offsets %s",
            start.topic,
            start.stream_id,
            start.offsets,
        )
        # After a failure, waiting for the running batch is useless: it may continue another
        # ledger.
        patience = 0.0
        try:
            self._watch(running, start, began)
            patience = BATCH_PATIENCE_SECONDS
            failure = running.exception()
            if failure is not None:
                raise failure
        finally:
            if _is_alive(spark):
                _stop_after_batch(running, patience)
        self._report(start)

    def _watch(self, running: StreamingQuery, start: source.Start, began: float) -> None:
        """Report progress until the query ends, a stop, or its tables are due."""
        reported = time.monotonic()
        while running.isActive and not self.stopping.is_set():
            self.stopping.wait(POLL_SECONDS)
            now = time.monotonic()
            if now - reported >= self.progress_seconds:
                reported = now
                self._note_batch(running)
                self._report(start)
            if self.settings.sales_calendar_end is None and now - began > TABLES_EVERY_SECONDS:
                return

    def _note_batch(self, running: StreamingQuery) -> None:
        """Remember how long the newest batch took, unless it had no events."""
        newest = running.lastProgress
        if newest is not None and newest.numInputRows:
            self._batch_seconds = newest.batchDuration / 1000

    def _report(self, start: source.Start) -> None:
        known = dict(self._known_offsets)
        try:
            progress = self._progress(start)
        except RestartError:
            raise
        except StreamError as error:
            # If this matters, the query itself will fail; a report must not end it.
            log.warning("no progress report: %s", error)
            self._heartbeat.beat("running", failing=True, error=error)
            return
        waiting = sum(progress.lag.values())
        self._heartbeat.beat(
            "running",
            failing=False,
            behind=waiting > 0 and self._known_offsets == known,
            lag_events=waiting,
        )
        if self.on_progress is not None:
            self.on_progress(progress)

    def _progress(self, start: source.Start) -> Progress:
        with ledger.connect(self.settings.database_url) as connection:
            rows = ledger.offsets(connection, start.stream_id)
            counts = ledger.counts(connection, start.stream_id)
            reasons = ledger.quarantined_by_reason(connection, start.stream_id)
            last_commit = ledger.last_commit(connection, start.stream_id)
            outdated = ledger.outdated_corrections(connection, start.stream_id)
        offsets = {partition: row.next_offset for partition, row in rows.items()}
        unmoved = {p for p, offset in offsets.items() if self._known_offsets.get(p) == offset}
        self._check_ledger(offsets)
        waiting = lag.waiting_events(
            self.settings.kafka_bootstrap_servers, start.topic, offsets, unmoved
        )
        now = time.monotonic()
        handled = counts.stored + counts.quarantined
        rate = 0.0
        if self._last_report is not None and now > self._last_report[0]:
            rate = (handled - self._last_report[1]) / (now - self._last_report[0])
        self._last_report = (now, handled)
        return Progress(counts, rate, waiting, reasons, last_commit, outdated, self._batch_seconds)

    def _check_ledger(self, offsets: dict[int, int]) -> None:
        """Notice a database that was restored from a backup; without new events no task would.

        Raises:
            RestartError: The ledger went back.
        """
        for partition, known in self._known_offsets.items():
            now = offsets.get(partition, 0)
            if now < known:
                raise RestartError(
                    f"the ledger of topic-partition {partition} went back from {known} to {now}"
                )
        self._known_offsets = offsets


@contextmanager
def stop_on_signals(stopping: threading.Event) -> Iterator[None]:
    """Let SIGTERM and SIGINT set an event instead of ending the process."""

    def stop(_number: int, _frame: FrameType | None) -> None:
        stopping.set()

    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _stop_after_batch(running: StreamingQuery, patience: float) -> None:
    """Stop a query, between two batches if one ends in time; an interrupted one is read again."""
    deadline = time.monotonic() + patience
    while (
        running.isActive
        and running.status["isTriggerActive"]
        and running.status["isDataAvailable"]
        and time.monotonic() < deadline
    ):
        time.sleep(POLL_SECONDS / 4)
    running.stop()


def _is_alive(spark: SparkSession) -> bool:
    try:
        return not spark.sparkContext._jsc.sc().isStopped()
    except Exception:  # any failure to ask means that Spark is gone
        return False


def _stop_spark(spark: SparkSession) -> None:
    if not _is_alive(spark):
        return
    try:
        spark.stop()
    except Py4JError as error:
        log.info("Spark's Java process ended by itself: %s", type(error).__name__)
