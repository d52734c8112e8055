"""Translation of Spark's and the drivers' exceptions into the errors of `errors`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from adbc_driver_manager import Error as AdbcError
from py4j.protocol import Py4JError, Py4JNetworkError  # type: ignore[import-untyped]
from pyspark.errors import PySparkException, StreamingQueryException

from streaming_job.errors import (
    RESTART_MARKER,
    RefusedError,
    RestartError,
    StreamError,
    UnavailableError,
    UnreadableTimeError,
)

#: What Spark's Kafka source writes when retention deleted the offsets that it wants next.
_DATA_LOSS_MARKERS = ("KAFKA_DATA_LOSS", "failOnDataLoss", "Some data may have been lost")
#: What Spark's Kafka source writes when a time in milliseconds does not fit its microseconds.
_OVERFLOW_MARKERS = (
    "overflows when converting to Spark's microsecond-precision",
    "ArithmeticException: long overflow",
)
#: What Kafka's Java clients write when the user lacks a right; the text behind it names what for.
_REFUSAL_MARKERS = ("TopicAuthorizationException", "GroupAuthorizationException")
#: Longest message, in characters; Java's exceptions can quote whole query plans.
_MAX_CHARACTERS = 300


def to_stream_error(error: BaseException) -> StreamError:
    """Return the stream's error for an exception of Spark or a driver.

    Every failure may be retried from the ledger, because a restart can neither lose nor duplicate
    an event. If a retry cannot help (a recreated topic, a wrong password), the next
    `source.plan_start` raises `RefusedError`; but it does not read events as Spark does, so a
    missing right to do so is told from Spark's message.
    """
    text = str(error)
    if isinstance(error, Py4JNetworkError | ConnectionError):
        return UnavailableError("Spark's Java process died")
    if RESTART_MARKER in text:
        return RestartError(_text_after(RESTART_MARKER, text))
    for marker in _REFUSAL_MARKERS:
        if marker in text:
            return RefusedError(
                f"Kafka refuses access ({_text_after(marker, text)}): let the stream's user "
                "describe and read the topic, and use any consumer group that begins with "
                "spark-kafka-source"
            )
    if any(marker in text for marker in _OVERFLOW_MARKERS):
        return UnreadableTimeError("an event's time is too large for Spark")
    if any(marker in text for marker in _DATA_LOSS_MARKERS):
        return RestartError("Kafka no longer holds the events that the query wanted next")
    return UnavailableError(_innermost_cause(text) or type(error).__name__)


@contextmanager
def translate_errors() -> Iterator[None]:
    """Translate exceptions raised inside the block with `to_stream_error`.

    Raises:
        StreamError: Spark or a driver failed.
    """
    try:
        yield
    except (
        StreamingQueryException,
        PySparkException,
        Py4JError,
        ConnectionError,
        AdbcError,
    ) as error:
        raise to_stream_error(error) from error


def _text_after(marker: str, text: str) -> str:
    rest = text[text.index(marker) + len(marker) :]
    return rest.split("\n", 1)[0].lstrip(": ")[:_MAX_CHARACTERS]


def _innermost_cause(text: str) -> str:
    """Return the last line that looks like an exception's, or else the first line."""
    lines = [line.strip() for line in text.strip().splitlines()]
    exceptions = [
        line
        for line in lines
        if ("Error" in line or "Exception" in line)
        and not line.startswith(("at ", "File ", "raise ", "..."))
    ]
    return (exceptions[-1:] or lines[:1] or [""])[0][:_MAX_CHARACTERS]
