"""The containers' backup and restore: `python -m local_stack.backup save|restore`.

The archive goes to standard output and comes from standard input, so that it lies where the shell
of the host puts it, with that user's rights. The embedded stack's commands are `make backup` and
`make restore`.
"""

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, NoReturn

import psycopg
import typer

from local_stack.backup import restoring, saving
from local_stack.backup.saving import Addresses
from local_stack.errors import StackError

app = typer.Typer(
    help="An archive of the stack's databases and artifacts.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)

Programs = Annotated[Path, typer.Option(help="The folder of pg_dump and pg_restore.")]
Artifacts = Annotated[Path, typer.Option(help="The folder of MLflow's artifacts.")]
Spool = Annotated[Path, typer.Option(help="A folder with room for an archive.")]


def _say(line: str) -> None:
    typer.echo(line, err=True)


def _fail(message: str) -> NoReturn:
    typer.echo(f"error: {message}", err=True)
    raise typer.Exit(1)


@contextmanager
def _exit_on_errors() -> Iterator[None]:
    try:
        yield
    except (StackError, psycopg.OperationalError) as error:
        _fail(str(error).strip())


def _address(name: str) -> str:
    address = os.environ.get(name, "").strip()
    if not address:
        _fail(f"{name} is not set: docker-compose.yml sets it for the services backup and restore.")
    return address


def _addresses() -> Addresses:
    return Addresses(
        _address("OWNER_DATABASE_URL"),
        _address("DAGSTER_POSTGRES_URL"),
        _address("MLFLOW_BACKEND_STORE_URI"),
    )


@app.command()
def save(programs: Programs, artifacts: Artifacts, spool: Spool) -> None:
    """Write an archive to standard output; whoever works in the databases goes on."""
    if sys.stdout.isatty():
        _fail("The archive goes to standard output: redirect it to a file.")
    with _exit_on_errors(), tempfile.TemporaryDirectory(dir=spool) as folder:
        path = Path(folder) / "archive.tar"
        manifest = saving.save(path, _addresses(), programs, {"artifacts": artifacts})
        with path.open("rb") as file:
            shutil.copyfileobj(file, sys.stdout.buffer)
        sys.stdout.buffer.flush()
    _say(f"{sum(manifest.rows.values()):,} rows of the sales database, schema {manifest.revision}")


@app.command()
def restore(
    programs: Programs,
    artifacts: Artifacts,
    spool: Spool,
    replace: Annotated[
        bool, typer.Option("--replace", help="Delete the rows that the databases hold.")
    ] = False,
) -> None:
    """Restore the archive that comes from standard input; nothing else may use the databases."""
    with _exit_on_errors(), tempfile.TemporaryDirectory(dir=spool) as folder:
        path = Path(folder) / "archive.tar"
        with path.open("wb") as file:
            shutil.copyfileobj(sys.stdin.buffer, file)
        target = restoring.Target(
            _addresses(),
            _address("ADMIN_DATABASE_URL"),
            programs,
            artifacts,
            Path(folder) / "migrations.log",
        )
        restoring.restore(path, target, replace=replace, say=_say)


if __name__ == "__main__":
    app(prog_name="python -m local_stack.backup")
