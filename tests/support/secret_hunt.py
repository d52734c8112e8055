"""Looking for secrets where they do not belong: command lines, files, tables."""

import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import psutil
import psycopg
from psycopg import sql

#: Files that are made to hold secrets; only their owner may read them.
SECRET_FILES = frozenset({"credentials.json", "token", "password", "server.properties", ".env"})
SAMPLE_SECONDS = 0.25


@contextmanager
def watched_processes() -> Iterator[set[str]]:
    """Collect the command line of every process that runs while the block does."""
    lines: set[str] = set()
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(SAMPLE_SECONDS):
            lines.update(command_lines())

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield lines
    finally:
        ended.set()
        thread.join()


def command_lines() -> Iterator[str]:
    """Yield what `ps` shows of every process."""
    for process in psutil.process_iter():
        try:
            yield " ".join(process.cmdline())
        except psutil.Error:
            continue


def in_texts(secrets: Mapping[str, str], texts: Iterable[str]) -> set[str]:
    """Return the names of the secrets that are in a text, each with the text's first words."""
    return {
        f"{name} in {text[:80]!r}" for text in texts for name in secrets if secrets[name] in text
    }


def in_files(secrets: Mapping[str, str], folder: Path, leave_out: Iterable[Path] = ()) -> set[str]:
    """Return the names of the secrets that are in files of a folder, each with the file."""
    found = set()
    left_out = set(leave_out)
    for path in folder.rglob("*"):
        if (
            path.name in SECRET_FILES
            or not path.is_file()
            or left_out.intersection([path, *path.parents])
        ):
            continue
        content = path.read_bytes()
        found |= {
            f"{name} in {path}" for name, secret in secrets.items() if secret.encode() in content
        }
    return found


def in_tables(secrets: Mapping[str, str], connection: psycopg.Connection) -> set[str]:
    """Return the names of the secrets that are in a database, each with the table."""
    found = set()
    tables = connection.execute(
        "SELECT c.oid::regclass::text, c.relname, n.nspname FROM pg_class c "
        "JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind = 'r' "
        "AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast')"
    ).fetchall()
    for shown, table, schema in tables:
        columns = connection.execute(
            "SELECT attname, atttypid::regtype::text FROM pg_attribute "
            "WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped",
            (shown,),
        ).fetchall()
        for name, secret in secrets.items():
            conditions = [
                sql.SQL("position({} IN {}) > 0").format(
                    sql.Literal(secret.encode()), sql.Identifier(column)
                )
                if kind == "bytea"
                else sql.SQL("position({} IN {}::text) > 0").format(
                    sql.Literal(secret), sql.Identifier(column)
                )
                for column, kind in columns
            ]
            query = sql.SQL("SELECT EXISTS (SELECT FROM {} WHERE {})").format(
                sql.Identifier(schema, table), sql.SQL(" OR ").join(conditions)
            )
            row = connection.execute(query).fetchone()
            if row is not None and row[0]:
                found.add(f"{name} in {shown}")
    return found
