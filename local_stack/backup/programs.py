"""pg_dump and pg_restore: found in a folder, run with an address that no other user sees."""

import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from psycopg.conninfo import conninfo_to_dict

from local_stack.errors import StackError
from local_stack.postgres_data import clean_environment

#: Parts of an address and the variables by which PostgreSQL's programs read them.
_VARIABLES = {
    "host": "PGHOST",
    "port": "PGPORT",
    "user": "PGUSER",
    "password": "PGPASSWORD",
    "dbname": "PGDATABASE",
    "sslmode": "PGSSLMODE",
    "sslrootcert": "PGSSLROOTCERT",
}


def dump(programs: Path, address: str, target: Path, options: Sequence[str]) -> None:
    """Dump a database in pg_dump's custom format.

    Args:
        programs: The folder of PostgreSQL's programs.
        address: The database with the role that owns what is dumped.
        target: The file to make.
        options: Further options.

    Raises:
        StackError: pg_dump failed.
    """
    with target.open("wb") as file:
        _run(
            [str(programs / "pg_dump"), "--format=custom", "--no-password", *options],
            address,
            stdout=file,
        )


def restore(programs: Path, address: str, source: IO[bytes], options: Sequence[str]) -> None:
    """Restore a dump into an empty database, as a whole or not at all.

    Args:
        programs: The folder of PostgreSQL's programs.
        address: The database with the role that shall own what is restored.
        source: The dump.
        options: Further options.

    Raises:
        StackError: pg_restore failed.
    """
    database = str(conninfo_to_dict(address)["dbname"])
    _run(
        [
            str(programs / "pg_restore"),
            *("--no-password", "--exit-on-error", "--single-transaction"),
            f"--dbname={database}",
            *options,
        ],
        address,
        stdin=source,
    )


def _run(
    command: Sequence[str],
    address: str,
    stdin: IO[bytes] | None = None,
    stdout: IO[bytes] | None = None,
) -> None:
    # libpq takes addresses from the environment, too, where `ps` shows no password.
    values = {
        _VARIABLES[name]: str(value)
        for name, value in conninfo_to_dict(address).items()
        if name in _VARIABLES and value is not None
    }
    with tempfile.TemporaryFile() as complaints:
        process = subprocess.Popen(
            command,
            env=clean_environment() | values,
            stdin=subprocess.DEVNULL if stdin is None else subprocess.PIPE,
            stdout=stdout or subprocess.DEVNULL,
            stderr=complaints,
        )
        try:
            if stdin is not None and process.stdin is not None:
                _feed(stdin, process.stdin)
            code = process.wait()
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
        if code:
            complaints.seek(0)
            lines = complaints.read().decode("utf-8", "replace").strip().splitlines()
            raise StackError(f"{Path(command[0]).name} failed: {(lines or ['no message'])[0]}")


def _feed(source: IO[bytes], target: IO[bytes]) -> None:
    """Copy a stream to a program; one that ends early says why by its exit code."""
    try:
        with target:
            shutil.copyfileobj(source, target)
    except BrokenPipeError:
        return
