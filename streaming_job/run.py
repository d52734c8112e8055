"""The always-on way: keeps a query running, starts it again from the ledger, reports progress."""

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

from streaming_job import kafka_client, ledger, query, session, source
from streaming_job.drain import ensure_monthly_tables
from streaming_job.errors import (
    RefusedError,
    RestartError,
    SettingsError,
    StreamError,
    UnavailableError,
)
from streaming_job.failures import to_stream_error
from streaming_job.ledger_rows import Counts
from streaming_job.settings import StreamSettings

log = logging.getLogger(__name__)

FIRST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 10.0
"""A try costs two connections, and whoever mends PostgreSQL waits for it to be noticed."""
POLL_SECONDS = 0.2
BATCH_PATIENCE_SECONDS = 10.0
TABLES_EVERY_SECONDS = 24 * 3600.0


class SparkGoneError(StreamError):
    """Spark's Java process died: only a new process can start another."""


@dataclass(frozen=True)
class Progress:
    """How the stream stands."""

    counts: Counts
    rows_per_second: float
    lag: dict[int, int]
    quarantined_by_reason: dict[str, int]
    last_commit: float
    """Unix seconds of the newest advance of any topic-partition."""

    def summary(self) -> str:
        """One line for a person."""
        return (
            f"stored {self.counts.stored:,}, quarantined {self.counts.quarantined:,}, "
            f"lag {sum(self.lag.values()):,} events, {self.rows_per_second:,.0f} rows/s"
        )


@dataclass
class Supervisor:
    """Runs the stream until told to stop.

    Args:
        settings: The stream's settings.
        on_progress: Called about every `progress_seconds` while something changes.
        accept_recreated_topic: Holds for the first start only.
    """

    settings: StreamSettings
    on_progress: Callable[[Progress], None] | None = None
    accept_recreated_topic: bool = False
    progress_seconds: float = 5.0
    stopping: threading.Event = field(default_factory=threading.Event)
    starts: int = 0
    """How often the query was started from the ledger."""
    _last: tuple[float, int] | None = None
    _seen: dict[int, int] = field(default_factory=dict)

    def run(self, spark: SparkSession | None = None) -> None:
        """Runs until `stopping` is set.

        Raises:
            RefusedError: Something that a person must decide.
            SettingsError: Spark cannot start with these settings.
            SparkGoneError: Spark's Java process died.
        """
        # Refusals are found before Spark takes its seconds to start.
        self._prepare_patiently()
        running = spark or session.build_session(self.settings)
        try:
            self._supervise(running)
        finally:
            if spark is None:
                _stop_spark(running)

    def _prepare_patiently(self) -> None:
        pause = FIRST_PAUSE_SECONDS
        while not self.stopping.is_set():
            try:
                ensure_monthly_tables(self.settings)
                self._plan()
                return
            except UnavailableError as error:
                log.warning("%s; trying again in %.0f s", error, pause)
                self.stopping.wait(pause)
                pause = min(pause * 2, LONGEST_PAUSE_SECONDS)

    def _plan(self) -> source.Start:
        start = source.plan_start(self.settings, accept_recreated_topic=self.accept_recreated_topic)
        self.accept_recreated_topic = False
        return start

    def _supervise(self, spark: SparkSession) -> None:
        pause = FIRST_PAUSE_SECONDS
        planned: dict[int, int] = {}
        while not self.stopping.is_set():
            began = time.monotonic()
            try:
                ensure_monthly_tables(self.settings)
                start = self._plan()
                if start.offsets != planned:
                    # The query before took something: only failures in a row lengthen the pause.
                    planned, pause = start.offsets, FIRST_PAUSE_SECONDS
                running = query.start_query(spark, start, self.settings)
                self.starts += 1
                self._seen = dict(start.offsets)
                log.info(
                    "the stream is running: topic %s (stream %d) from offsets %s",
                    start.topic,
                    start.stream_id,
                    start.offsets,
                )
                self._watch(spark, running, start, began)
            except (RefusedError, SettingsError):
                raise
            except Exception as error:  # every failure means: start from the ledger
                if self.stopping.is_set():
                    # A signal to the whole process group ends Java too; what it was writing is
                    # rolled back, and the next start takes it again.
                    log.info("the last batch was cut short: %s", to_stream_error(error))
                    return
                if not _is_alive(spark):
                    raise SparkGoneError(
                        "Spark's Java process is gone: start the stream again, "
                        "it goes on where the tables are"
                    ) from error
                known = error if isinstance(error, StreamError) else to_stream_error(error)
                log.warning("%s; starting again from the ledger in %.0f s", known, pause)
                self.stopping.wait(pause)
                pause = min(pause * 2, LONGEST_PAUSE_SECONDS)

    def _watch(
        self, spark: SparkSession, running: StreamingQuery, start: source.Start, began: float
    ) -> None:
        reported = time.monotonic()
        # After a failure the running batch is of no use: it may continue another ledger.
        patience = 0.0
        try:
            while running.isActive and not self.stopping.is_set():
                self.stopping.wait(POLL_SECONDS)
                now = time.monotonic()
                if now - reported >= self.progress_seconds:
                    reported = now
                    self._report(start)
                if self.settings.sales_calendar_end is None and now - began > TABLES_EVERY_SECONDS:
                    break
            patience = BATCH_PATIENCE_SECONDS
            failure = running.exception()
            if failure is not None:
                raise failure
        finally:
            if _is_alive(spark):
                _stop_after_batch(running, patience)
        self._report(start)

    def _report(self, start: source.Start) -> None:
        if self.on_progress is None:
            return
        try:
            self.on_progress(self._progress(start))
        except RestartError:
            raise
        except StreamError as error:
            # The query itself will tell; a report is not worth ending it.
            log.warning("no progress report: %s", error)

    def _progress(self, start: source.Start) -> Progress:
        with ledger.connect(self.settings.database_url) as connection:
            rows = ledger.offsets(connection, start.stream_id)
            counts = ledger.counts(connection, start.stream_id)
            reasons = ledger.quarantined_by_reason(connection, start.stream_id)
            last_commit = ledger.last_commit(connection, start.stream_id)
        self._refuse_going_back({key: row.next_offset for key, row in rows.items()})
        _, ends = kafka_client.offset_bounds(
            self.settings.kafka_bootstrap_servers, start.topic, rows.keys()
        )
        now = time.monotonic()
        handled = counts.stored + counts.quarantined
        rate = 0.0
        if self._last is not None and now > self._last[0]:
            rate = (handled - self._last[1]) / (now - self._last[0])
        self._last = (now, handled)
        lag = {
            partition: max(0, ends[partition] - row.next_offset) for partition, row in rows.items()
        }
        return Progress(counts, rate, lag, reasons, last_commit)

    def _refuse_going_back(self, offsets: dict[int, int]) -> None:
        """A database restored from a backup: without new events no task would notice.

        Raises:
            RestartError: The ledger stands before where it stood.
        """
        for partition, seen in self._seen.items():
            now = offsets.get(partition, 0)
            if now < seen:
                raise RestartError(
                    f"the ledger of topic-partition {partition} went back from {seen} to {now}"
                )
        self._seen = offsets


@contextmanager
def stop_on_signals(stopping: threading.Event) -> Iterator[None]:
    """Turns SIGTERM and SIGINT into a clean stop after the running batch."""

    def stop(_number: int, _frame: FrameType | None) -> None:
        stopping.set()

    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _stop_after_batch(running: StreamingQuery, patience: float) -> None:
    """Stops a query between two batches if it can; a batch cut short would be taken again."""
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
    except Exception:  # any failure to ask means that nobody is there
        return False


def _stop_spark(spark: SparkSession) -> None:
    if not _is_alive(spark):
        return
    try:
        spark.stop()
    except Py4JError as error:
        log.info("Spark's Java process ended by itself: %s", type(error).__name__)
