"""Sending sales events to Kafka, as the stores' systems would.

Events are written by `encoding`, in the form that `transform` parses fastest: the fields in the
data set's order, no blanks, `StateHoliday` as a string.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import date
from pathlib import Path
from typing import Any

import pandas as pd
from kafka import KafkaProducer

from rossmann import fields, kaggle
from streaming_job import encoding
from streaming_job.broker_access import BrokerAccess, broker_access
from streaming_job.errors import InputError, RefusedError, UnavailableError
from streaming_job.kafka_client import (
    BOOTSTRAP_MS,
    RECONNECT_MS,
    describe_topic,
    to_stream_error,
    translate_errors,
)

#: Events between two calls of `on_progress`.
PROGRESS_EVERY = 2_000
#: Events between two flushes. They bound the memory of waiting events; kafka-python does not.
FLUSH_EVERY = 50_000
FLUSH_SECONDS = 120.0
LINGER_MS = 20
BATCH_BYTES = 256 * 1024

#: Called with the number of events sent so far and, if known, the total.
Progress = Callable[[int, int | None], None]


def produce(
    frame_or_rows: pd.DataFrame | Iterable[Mapping[str, Any]],
    *,
    bootstrap_servers: str,
    topic: str,
    access: BrokerAccess | None = None,
    on_progress: Progress | None = None,
) -> int:
    """Send events and return once the broker has acknowledged every one.

    Args:
        frame_or_rows: Kaggle's columns (`fields.FIELDS`; others are ignored). A missing Sales,
            Customers or Open is left out of the event.
        bootstrap_servers: The brokers.
        topic: The topic; it must exist.
        access: How to prove who sends; by default as the settings say.
        on_progress: Called every `PROGRESS_EVERY` events and at the end.

    Returns:
        The number of events sent.

    Raises:
        SettingsError: The settings do not fit the broker.
        UnavailableError: The broker does not answer or did not acknowledge every event.
        RefusedError: A column or value is missing, or a number cannot be sent unchanged; there is
            no such topic, or the user may not write to it.
    """
    total: int | None = None
    if isinstance(frame_or_rows, pd.DataFrame):
        total = len(frame_or_rows)
        pairs = encoding.encode_frame(frame_or_rows)
    else:
        pairs = (encoding.encode(row) for row in frame_or_rows)
    return send(
        pairs,
        bootstrap_servers=bootstrap_servers,
        topic=topic,
        access=access,
        on_progress=on_progress,
        total=total,
    )


def send(
    pairs: Iterable[tuple[bytes | None, bytes | None]],
    *,
    bootstrap_servers: str,
    topic: str,
    access: BrokerAccess | None = None,
    on_progress: Progress | None = None,
    total: int | None = None,
    partition: int | None = None,
) -> int:
    """Send keys and values unchanged, and return once all are acknowledged.

    Args:
        pairs: Keys and values.
        bootstrap_servers: The brokers.
        topic: The topic; it must exist.
        access: How to prove who sends; by default as the settings say.
        on_progress: As in `produce`.
        total: The number of pairs, if known; passed on to `on_progress`.
        partition: Send everything there; by default the key decides.

    Returns:
        The number of events sent.

    Raises:
        SettingsError: The settings do not fit the broker.
        RefusedError: There is no such topic, or the user may not write to it.
        UnavailableError: The broker does not answer or did not acknowledge every event.
    """
    failures: list[Exception] = []
    sent = 0
    access = access or broker_access()
    # kafka-python waits a minute for a topic that does not exist, and does not tell.
    describe_topic(bootstrap_servers, topic, access)
    with translate_errors(bootstrap_servers, access):
        producer = KafkaProducer(
            bootstrap_servers=bootstrap_servers,
            acks="all",
            enable_idempotence=True,
            linger_ms=LINGER_MS,
            batch_size=BATCH_BYTES,
            reconnect_backoff_max_ms=RECONNECT_MS,
            bootstrap_timeout_ms=BOOTSTRAP_MS,
            **access.client_options(),
        )
        try:
            for key, value in pairs:
                future = producer.send(topic, key=key, value=value, partition=partition)
                future.add_errback(failures.append)
                sent += 1
                if on_progress is not None and sent % PROGRESS_EVERY == 0:
                    on_progress(sent, total)
                if sent % FLUSH_EVERY == 0:
                    producer.flush(timeout=FLUSH_SECONDS)
                if failures:
                    break
            producer.flush(timeout=FLUSH_SECONDS)
        finally:
            producer.close(timeout=5)
    if failures:
        refusal = to_stream_error(bootstrap_servers, failures[0])
        kind = type(refusal) if isinstance(refusal, RefusedError) else UnavailableError
        raise kind(
            f"{len(failures)} of {sent} events for topic {topic!r} were not taken: {refusal}"
        )
    if on_progress is not None:
        on_progress(sent, total)
    return sent


def read_days(
    folder: Path, first: date, last: date, skipped: list[kaggle.BadRow] | None = None
) -> pd.DataFrame:
    """Return the rows of Kaggle's train.csv between two days, both included.

    Args:
        folder: The folder of the file.
        first: The first day.
        last: The last day.
        skipped: Bad rows of the file are appended to it. None refuses the file if there are any.

    Returns:
        The rows with Kaggle's columns, sorted by day and store.

    Raises:
        InputError: The file is missing, contains a bad row, or has no rows for these days.
    """
    try:
        days = kaggle.read_train(folder, skipped)
    except kaggle.KaggleFilesError as error:
        raise InputError(str(error)) from error
    rows = days[days["date"].between(pd.Timestamp(first), pd.Timestamp(last))]
    if rows.empty:
        has = f"{days['date'].min():%F} to {days['date'].max():%F}" if len(days) else "none"
        raise InputError(
            f"train.csv in {folder} has no rows from {first} to {last}: its days are {has}"
        )
    named = rows.rename(columns={column: field for field, column in fields.COLUMNS.items()})
    whole = dict.fromkeys(fields.OUTCOME_FIELDS, "int64")
    return named.astype(whole).sort_values([fields.DATE, fields.STORE])
