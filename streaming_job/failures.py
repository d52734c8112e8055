"""What a failed query means: Spark's long traces turned into the errors of `errors`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from adbc_driver_manager import Error as AdbcError
from py4j.protocol import Py4JError, Py4JNetworkError  # type: ignore[import-untyped]
from pyspark.errors import PySparkException, StreamingQueryException

from streaming_job.errors import RestartError, StreamError, UnavailableError
from streaming_job.sink import START_AGAIN

_DATA_LOSS = ("KAFKA_DATA_LOSS", "failOnDataLoss", "Some data may have been lost")
_MAX_CHARACTERS = 300


def to_stream_error(error: BaseException) -> StreamError:
    """Maps an exception of Spark to what to do about it.

    Everything is worth a new start from the ledger, since nothing can be lost or doubled by one;
    what is not (a recreated topic, missing rights) the next `source.plan_start` refuses by name.
    """
    text = str(error)
    if isinstance(error, Py4JNetworkError | ConnectionError):
        return UnavailableError("Spark's Java process is gone")
    if START_AGAIN in text:
        return RestartError(_line_with(text, START_AGAIN))
    if any(mark in text for mark in _DATA_LOSS):
        return RestartError("Kafka no longer holds the events that the query wanted next")
    return UnavailableError(_cause(text) or type(error).__name__)


@contextmanager
def translate_errors() -> Iterator[None]:
    """Raises `to_stream_error` of what Spark raises inside.

    Raises:
        StreamError: Something failed.
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


def _line_with(text: str, mark: str) -> str:
    for line in text.splitlines():
        if mark in line:
            return line[line.index(mark) + len(mark) :].lstrip(": ")[:_MAX_CHARACTERS]
    return mark


def _cause(text: str) -> str:
    """The line that names the innermost cause: the last one that looks like an exception's."""
    named = [
        line.strip()
        for line in text.splitlines()
        if ("Error" in line or "Exception" in line)
        and not line.lstrip().startswith(("at ", "File ", "raise ", "..."))
    ]
    return (named[-1] if named else text.strip().splitlines()[0] if text.strip() else "")[
        :_MAX_CHARACTERS
    ]
