"""The errors that the stream raises, by what the reader has to do about them."""


class StreamError(Exception):
    """Anything that stops the stream; its message is one line that says what to do."""


class SettingsError(StreamError):
    """A setting is missing or wrong."""


class RefusedError(StreamError):
    """Going on could lose or double events, so a person must decide first."""


class UnavailableError(StreamError):
    """PostgreSQL or Kafka does not answer; trying again later is right."""


class RestartError(StreamError):
    """The running query's view of the world is out of date; a start from the ledger mends it."""
