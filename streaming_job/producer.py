"""Sending sales events to Kafka, as the stores' systems would.

Events are written in the form that `transform` parses fastest: the fields in the data set's
order, no blanks, `StateHoliday` as a string.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import date
from pathlib import Path
from typing import Any

import pandas as pd
from kafka import KafkaProducer
from kafka.errors import KafkaError

from rossmann import fields, kaggle
from streaming_job.broker_access import BrokerAccess, broker_access
from streaming_job.errors import RefusedError, SettingsError, UnavailableError
from streaming_job.kafka_client import RECONNECT_MS

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
        UnavailableError: The broker does not answer or did not acknowledge every event.
        RefusedError: A column is missing.
    """
    total: int | None = None
    if isinstance(frame_or_rows, pd.DataFrame):
        total = len(frame_or_rows)
        pairs = _encode_frame(frame_or_rows)
    else:
        pairs = (encode(row) for row in frame_or_rows)
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
        UnavailableError: The broker does not answer or did not acknowledge every event.
    """
    failures: list[BaseException] = []
    sent = 0
    try:
        producer = KafkaProducer(
            bootstrap_servers=bootstrap_servers,
            acks="all",
            enable_idempotence=True,
            linger_ms=LINGER_MS,
            batch_size=BATCH_BYTES,
            reconnect_backoff_max_ms=RECONNECT_MS,
            **(access or broker_access()).client_options(),
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
    except (KafkaError, OSError) as error:
        raise UnavailableError(
            f"Kafka at {bootstrap_servers} did not take event {sent + 1} for topic {topic!r}: "
            f"{type(error).__name__}: {error}"
        ) from error
    if failures:
        raise UnavailableError(
            f"Kafka at {bootstrap_servers} refused {len(failures)} of {sent} events for topic "
            f"{topic!r}, the first with {type(failures[0]).__name__}: {failures[0]}"
        )
    if on_progress is not None:
        on_progress(sent, total)
    return sent


def encode(row: Mapping[str, Any]) -> tuple[bytes, bytes]:
    """Return the key and value of one event; a missing Sales, Customers or Open is left out.

    Raises:
        RefusedError: Another field is missing.
    """
    event: dict[str, Any] = {}
    for field in fields.FIELDS:
        value = row.get(field)
        if field in fields.OPTIONAL_ON_PLAN and _is_missing(value):
            continue
        if value is None:
            raise RefusedError(f"a row has no {field}: {dict(row)!r:.200}")
        if field == fields.DATE:
            event[field] = str(value)[:10]
        elif field == fields.STATE_HOLIDAY:
            event[field] = str(value)
        else:
            event[field] = int(value)
    text = json.dumps(event, separators=(",", ":"))
    return str(event[fields.STORE]).encode(), text.encode()


def _is_missing(value: Any) -> bool:
    return value is None or value is pd.NA or (isinstance(value, float) and math.isnan(value))


def _encode_frame(frame: pd.DataFrame) -> Iterator[tuple[bytes, bytes]]:
    required = [field for field in fields.FIELDS if field not in fields.OPTIONAL_ON_PLAN]
    absent = [field for field in required if field not in frame.columns]
    if absent:
        raise RefusedError(
            f"the data has no column {', '.join(absent)}; it needs {', '.join(fields.FIELDS)}"
        )
    # Text by column, not by row: json.dumps for each row is slower than the broker.
    texts: list[list[str]] = []
    for index, field in enumerate(fields.FIELDS):
        lead = "{" if index == 0 else ","
        if field not in frame.columns:
            texts.append([""] * len(frame))
            continue
        column = frame[field]
        if field == fields.DATE:
            days = pd.to_datetime(column).dt.strftime("%Y-%m-%d")
            texts.append([f'{lead}"{field}":"{day}"' for day in days])
        elif field == fields.STATE_HOLIDAY:
            texts.append([f'{lead}"{field}":{json.dumps(str(code))}' for code in column])
        else:
            # Only fields that a plan may leave out can be missing; int() refuses the others.
            is_optional = field in fields.OPTIONAL_ON_PLAN
            texts.append(
                [
                    "" if is_optional and pd.isna(value) else f'{lead}"{field}":{int(value)}'
                    for value in column.tolist()
                ]
            )
    for store, *parts in zip(frame[fields.STORE].tolist(), *texts, strict=True):
        yield str(int(store)).encode(), ("".join(parts) + "}").encode()


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
        SettingsError: The file is missing, contains a bad row, or has no rows for these days.
    """
    try:
        days = kaggle.read_train(folder, skipped)
    except kaggle.KaggleFilesError as error:
        raise SettingsError(str(error)) from error
    rows = days[days["date"].between(pd.Timestamp(first), pd.Timestamp(last))]
    if rows.empty:
        has = f"{days['date'].min():%F} to {days['date'].max():%F}" if len(days) else "none"
        raise SettingsError(
            f"train.csv in {folder} has no rows from {first} to {last}: its days are {has}"
        )
    named = rows.rename(columns={column: field for field, column in fields.COLUMNS.items()})
    whole = dict.fromkeys(fields.OUTCOME_FIELDS, "int64")
    return named.astype(whole).sort_values([fields.DATE, fields.STORE])
