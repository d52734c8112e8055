"""The sales schema's revisions: which one a database has, which the code knows, and migrating."""

import subprocess
import sys
from functools import cache
from pathlib import Path

import psycopg

from local_stack import paths
from local_stack.environment import component_environment
from local_stack.errors import StackError


@cache
def known_revisions() -> tuple[str, ...]:
    """Return the revisions that this code knows, oldest first."""
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    scripts = ScriptDirectory.from_config(Config(paths.ALEMBIC_INI))
    return tuple(script.revision for script in scripts.walk_revisions())[::-1]


def revision_of(connection: psycopg.Connection) -> str | None:
    """Return the revision of the database of a connection; None if it was never migrated."""
    (there,) = connection.execute("SELECT to_regclass('sales.alembic_version')").fetchall()
    if there[0] is None:
        return None
    row = connection.execute("SELECT version_num FROM sales.alembic_version").fetchone()
    return None if row is None else str(row[0])


def migrate(owner_url: str, folder: Path, log: Path, to: str = "head") -> None:
    """Bring a sales database's schema up to date.

    Args:
        owner_url: Its address with the role that owns the schema.
        folder: The working directory: never one with another stack's `.env`.
        log: Where to write the output of a migration that failed.
        to: The revision to stop at.

    Raises:
        StackError: A migration failed.
    """
    answer = subprocess.run(
        [sys.executable, "-m", "alembic", "-c", str(paths.ALEMBIC_INI), "upgrade", to],
        cwd=folder,
        env=component_environment("migrations", {"OWNER_DATABASE_URL": owner_url}),
        capture_output=True,
        text=True,
        check=False,
    )
    if answer.returncode:
        log.parent.mkdir(parents=True, exist_ok=True)
        log.write_text(answer.stdout + answer.stderr)
        last = (answer.stderr.strip().splitlines() or ["no output"])[-1]
        raise StackError(f"The schema's migrations failed ({last}); see {log}.")
