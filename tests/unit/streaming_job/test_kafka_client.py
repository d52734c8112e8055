"""Errors of the broker and of kafka-python are told for what they are."""

import pytest
from kafka import errors

from streaming_job.errors import RefusedError, SettingsError, StreamError, UnavailableError
from streaming_job.kafka_client import to_stream_error


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        (errors.KafkaConnectionError("refused"), UnavailableError, "does not answer"),
        (errors.KafkaTimeoutError("60 s"), UnavailableError, "does not answer"),
        (TimeoutError("nothing more"), UnavailableError, "does not answer"),
        (ConnectionResetError(), UnavailableError, "does not answer"),
        (
            errors.UnsupportedCodecError("Libraries for zstd compression codec not found"),
            SettingsError,
            r"zstd.*requirements\.lock",
        ),
        (errors.TopicAuthorizationFailedError("sales"), RefusedError, "refuses access.*read"),
        (
            errors.KafkaError("InitProducerIdResponse: [Error 31] ClusterAuthorizationFailedError"),
            RefusedError,
            "refuses access.*write",
        ),
        (errors.SaslAuthenticationFailedError("bad password"), RefusedError, "refuses access"),
        (
            errors.CorruptRecordError("invalid crc"),
            UnavailableError,
            "answers with an error: .*invalid crc",
        ),
        (errors.OffsetOutOfRangeError("{0: 5}"), UnavailableError, "answers with an error"),
    ],
)
def test_an_error_says_whether_the_broker_answers(
    error: Exception, kind: type[StreamError], words: str
) -> None:
    translated = to_stream_error("broker:9092", error)
    assert type(translated) is kind
    with pytest.raises(kind, match=rf"Kafka at broker:9092.*{words}"):
        raise translated
