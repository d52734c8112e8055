"""What a failure of Spark means for the stream."""

import pytest

from streaming_job.errors import (
    RefusedError,
    RestartError,
    StreamError,
    UnavailableError,
    UnreadableTimeError,
)
from streaming_job.failures import to_stream_error


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        (
            "[STREAM_FAILED] Query terminated with exception: Record at topic sales partition 0 "
            "offset 2 has timestamp value 1795669660023000000 that overflows when converting to "
            "Spark's microsecond-precision TimestampType.",
            UnreadableTimeError,
        ),
        ("Caused by: java.lang.ArithmeticException: long overflow", UnreadableTimeError),
        ("START_AGAIN: topic 'sales' was recreated while the stream ran", RestartError),
        ("Some data may have been lost because they are not available in Kafka", RestartError),
        (
            "Caused by: org.apache.kafka.common.errors.TopicAuthorizationException: Not authorized "
            "to access topics: [sales]",
            RefusedError,
        ),
        ("org.postgresql.PSQLException: no space left on device", UnavailableError),
    ],
)
def test_a_failure_is_told_from_others_by_its_text(text: str, kind: type[StreamError]) -> None:
    assert type(to_stream_error(RuntimeError(text))) is kind
