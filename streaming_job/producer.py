"""Sends sales events to Kafka, as the shops' systems would: a library function and its helpers.

The written form is what `transform` takes apart fastest: the fields in the dataset's order,
no blanks, `StateHoliday` as a string.
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

from streaming_job import events
from streaming_job.errors import RefusedError, SettingsError, UnavailableError
from streaming_job.kafka_client import RECONNECT_MS

PROGRESS_EVERY = 2_000
LINGER_MS = 20
BATCH_BYTES = 256 * 1024
FLUSH_EVERY = 50_000
"""Bounds what waits in memory: kafka-python itself does not."""
FLUSH_SECONDS = 120.0

Progress = Callable[[int, int | None], None]
"""Called with events acknowledged or handed over so far and, if known, the total."""


def produce(
    frame_or_rows: pd.DataFrame | Iterable[Mapping[str, Any]],
    *,
    bootstrap_servers: str,
    topic: str,
    on_progress: Progress | None = None,
) -> int:
    """Sends events and returns once the broker has acknowledged every one.

    Args:
        frame_or_rows: Kaggle's columns (`events.FIELDS`; others are ignored). A missing Sales,
            Customers or Open is left out of the event.
        bootstrap_servers: The brokers.
        topic: The topic; it must exist.
        on_progress: Called now and then.

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
        on_progress=on_progress,
        total=total,
    )


def send(
    pairs: Iterable[tuple[bytes | None, bytes | None]],
    *,
    bootstrap_servers: str,
    topic: str,
    on_progress: Progress | None = None,
    total: int | None = None,
    partition: int | None = None,
) -> int:
    """Sends keys and values as they are, and returns once all are acknowledged.

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
        )
        try:
            for key, value in pairs:
                producer.send(topic, key=key, value=value, partition=partition).add_errback(
                    failures.append
                )
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
    """The key and value of one event; a missing Sales, Customers or Open is left out."""
    event: dict[str, Any] = {}
    for field in events.FIELDS:
        value = row.get(field)
        if field in events.OPTIONAL_ON_PLAN and _is_missing(value):
            continue
        if value is None:
            raise RefusedError(f"a row without {field}: {dict(row)!r:.200}")
        if field == events.DATE:
            event[field] = str(value)[:10]
        elif field == events.STATE_HOLIDAY:
            event[field] = str(value)
        else:
            event[field] = int(value)
    text = json.dumps(event, separators=(",", ":"))
    return str(event[events.STORE]).encode(), text.encode()


def _is_missing(value: Any) -> bool:
    return value is None or value is pd.NA or (isinstance(value, float) and math.isnan(value))


def _encode_frame(frame: pd.DataFrame) -> Iterator[tuple[bytes, bytes]]:
    required = [field for field in events.FIELDS if field not in events.OPTIONAL_ON_PLAN]
    absent = [field for field in required if field not in frame.columns]
    if absent:
        raise RefusedError(
            f"the data has no column {', '.join(absent)}; it needs {', '.join(events.FIELDS)}"
        )
    # Text by column, not by row: json.dumps for each row is slower than the broker.
    texts: list[list[str]] = []
    for index, field in enumerate(events.FIELDS):
        lead = "{" if index == 0 else ","
        if field not in frame.columns:
            texts.append([""] * len(frame))
            continue
        column = frame[field]
        if field == events.DATE:
            days = pd.to_datetime(column).dt.strftime("%Y-%m-%d")
            texts.append([f'{lead}"{field}":"{day}"' for day in days])
        elif field == events.STATE_HOLIDAY:
            texts.append([f'{lead}"{field}":{json.dumps(str(code))}' for code in column])
        elif field in events.OPTIONAL_ON_PLAN:
            texts.append(
                [
                    "" if pd.isna(value) else f'{lead}"{field}":{int(value)}'
                    for value in column.tolist()
                ]
            )
        else:
            texts.append([f'{lead}"{field}":{int(value)}' for value in column.tolist()])
    for store, *parts in zip(frame[events.STORE].tolist(), *texts, strict=True):
        yield str(int(store)).encode(), ("".join(parts) + "}").encode()


def read_days(folder: Path, first: date, last: date) -> pd.DataFrame:
    """The rows of Kaggle's train.csv (plain or .gz) between two days, both included.

    Raises:
        SettingsError: No such file, not the right columns, or no rows for these days.
    """
    for name in ("train.csv", "train.csv.gz"):
        path = folder / name
        if path.exists():
            break
    else:
        raise SettingsError(f"no train.csv or train.csv.gz in {folder}")
    try:
        frame = pd.read_csv(path, dtype={events.STATE_HOLIDAY: str}, low_memory=False)
    except (OSError, EOFError, ValueError) as error:
        raise SettingsError(f"{path} cannot be read: {error}") from error
    absent = [field for field in events.FIELDS if field not in frame.columns]
    if absent:
        raise SettingsError(f"{path} has no column {', '.join(absent)}")
    wanted = frame[frame[events.DATE].between(first.isoformat(), last.isoformat())]
    if wanted.empty:
        raise SettingsError(
            f"{path} has no rows from {first} to {last}: its days are "
            f"{frame[events.DATE].min()} to {frame[events.DATE].max()}"
        )
    return wanted.sort_values([events.DATE, events.STORE])
