"""What PostgreSQL lacks is told from a PostgreSQL that does not answer."""

import psycopg
import pytest

from streaming_job.errors import RefusedError, SettingsError, StreamError, UnavailableError
from streaming_job.postgres_errors import refuse_old_server, to_stream_error

AT = 'connection failed: connection to server at "127.0.0.1", port 5432 failed: '


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        (psycopg.OperationalError(f"{AT}Connection refused"), UnavailableError, "does not answer"),
        (psycopg.OperationalError("the database system is starting up"), UnavailableError, "start"),
        (
            psycopg.OperationalError("SSL connection has been closed unexpectedly"),
            UnavailableError,
            "does not answer",
        ),
        (
            psycopg.OperationalError(
                f"{AT}Connection refused\nMultiple connection attempts failed. All failures were:\n"
                "- host: 'localhost', port: 5432, hostaddr: '127.0.0.1': connection failed: "
                'FATAL:  password authentication failed for user "sales_stream"'
            ),
            RefusedError,
            "set user and password in STREAM_DATABASE_URL",
        ),
        (psycopg.OperationalError(f"{AT}certificate verify failed"), SettingsError, "sslrootcert"),
        (psycopg.errors.UndefinedColumn("no column"), RefusedError, "alembic upgrade head"),
        (psycopg.errors.UndefinedFunction("no function"), RefusedError, "alembic upgrade head"),
        (psycopg.errors.InsufficientPrivilege("denied"), RefusedError, "lacks a privilege"),
        (psycopg.errors.SyntaxError("at or near"), UnavailableError, "answers with an error"),
    ],
)
def test_an_error_says_what_to_do(
    error: psycopg.Error, kind: type[StreamError], words: str
) -> None:
    translated = to_stream_error(error)
    assert type(translated) is kind
    assert words in str(translated) and "\n" not in str(translated)


def test_an_old_server_is_refused() -> None:
    refuse_old_server(150_000)
    with pytest.raises(RefusedError, match="PostgreSQL 13 of STREAM_DATABASE_URL is too old"):
        refuse_old_server(130_014)
