"""Translation of psycopg's errors into the stream's: what is wrong, and what to do."""

from __future__ import annotations

from typing import Final

import psycopg

from streaming_job.errors import RefusedError, SettingsError, StreamError, UnavailableError

#: The oldest PostgreSQL that the migrations run on, as its clients number it.
OLDEST_VERSION: Final = 150_000

_VARIABLE = "STREAM_DATABASE_URL"
#: What the driver's message contains -> what to do. None of them goes away by waiting.
_REMEDIES = (
    (
        "does not support SSL",
        "turn on its `ssl`, or take sslmode out of STREAM_DATABASE_URL where nobody can listen",
    ),
    (
        "no encryption",
        "set sslmode=verify-full and sslrootcert, the PEM file of its authority, in "
        "STREAM_DATABASE_URL",
    ),
    ("no pg_hba.conf entry", "let it in by the server's pg_hba.conf"),
    (
        "does not match host name",
        "write the name that its certificate is for into STREAM_DATABASE_URL",
    ),
    (
        "certificate verify failed",
        "set sslrootcert in STREAM_DATABASE_URL to the PEM file of the authority that issued its "
        "certificate",
    ),
    (
        "root certificate file",
        "set sslrootcert in STREAM_DATABASE_URL to the PEM file of its authority",
    ),
    ("invalid response to SSL negotiation", "STREAM_DATABASE_URL must name PostgreSQL's port"),
    ("authentication failed", "set user and password in STREAM_DATABASE_URL"),
    ("no password supplied", "write user:password@ into STREAM_DATABASE_URL"),
    ("not permitted to log in", "allow it with ALTER ROLE … LOGIN"),
    ("permission denied for database", "let the role in with GRANT CONNECT ON DATABASE"),
    ("does not exist", "create it, or set STREAM_DATABASE_URL to the right name"),
)
#: The tables, columns or functions are those of another version of this program.
_NOT_MIGRATED = (
    psycopg.errors.UndefinedTable,
    psycopg.errors.InvalidSchemaName,
    psycopg.errors.UndefinedColumn,
    psycopg.errors.UndefinedFunction,
    psycopg.errors.InvalidColumnReference,
)


def to_stream_error(error: psycopg.Error) -> StreamError:
    """Return the stream's error for one of psycopg's."""
    text = first_line(error)
    if isinstance(error, _NOT_MIGRATED):
        return RefusedError(
            f"the tables of {_VARIABLE} are not those of this version ({text}): apply the "
            "migrations with `python -m alembic upgrade head`"
        )
    if isinstance(error, psycopg.errors.InsufficientPrivilege):
        return RefusedError(
            f"the role of {_VARIABLE} lacks a privilege ({text}): docs/security.md lists the "
            "rights of sales_stream, which the migrations grant"
        )
    # One line for each address and way that was tried; the first need not be the telling one.
    lines = [" ".join(line.split()) for line in str(error).splitlines()]
    for part, remedy in _REMEDIES:
        for line in lines:
            if part in line:
                kind = SettingsError if "certificate" in part else RefusedError
                return kind(f"PostgreSQL does not fit {_VARIABLE} ({line}): {remedy}")
    if isinstance(error, psycopg.OperationalError):
        return UnavailableError(f"PostgreSQL does not answer: {text}")
    return UnavailableError(f"PostgreSQL answers with an error: {text}")


def refuse_old_server(version: int) -> None:
    """Refuse a server that the migrations do not run on.

    Args:
        version: The server's version, as its clients number it: 160004 for 16.4.

    Raises:
        RefusedError: It is too old.
    """
    if version < OLDEST_VERSION:
        raise RefusedError(
            f"PostgreSQL {version // 10_000} of {_VARIABLE} is too old: it must be "
            f"{OLDEST_VERSION // 10_000} or newer"
        )


def first_line(error: Exception) -> str:
    """Return an error's first line."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(":")
