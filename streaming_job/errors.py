"""The stream's errors, grouped by what they require the operator to do."""

#: Marks a `RestartError` in the text of a failed Spark task, which is all that the driver sees.
RESTART_MARKER = "START_AGAIN"


class StreamError(Exception):
    """Anything that stops the stream; the message is one line that says what to do."""


class SettingsError(StreamError):
    """A setting is missing or wrong."""


class InputError(StreamError):
    """A file or folder that the caller names is missing, or holds nothing that can be sent."""


class RefusedError(StreamError):
    """Continuing could lose or duplicate events, so a person must decide first."""


class UnavailableError(StreamError):
    """PostgreSQL or Kafka does not answer; try again later."""


class RestartError(StreamError):
    """The running query no longer matches the ledger; restart it from the ledger."""


class UnreadableTimeError(RestartError):
    """Spark's source cannot read an event's time; `unreadable` takes the event without Spark."""


class SparkDiedError(StreamError):
    """Spark's Java process died; only a new process can start another."""
