"""Making an archive from running databases and from the files that belong to them.

The sales database is read in one snapshot: its rows, its ledger and the counts in the manifest fit
together although the stream and refreshes go on. Dagster's and MLflow's databases have snapshots of
their own, a moment later; both hold records about the sales, and nothing is computed from them.
"""

import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

import psycopg

from local_stack import paths
from local_stack.backup import programs
from local_stack.backup.archive import Manifest, new_archive
from local_stack.backup.contents import read_contents
from local_stack.errors import StackError


@dataclass(frozen=True)
class Addresses:
    """The three databases, each with the role that owns it."""

    sales: str
    dagster: str
    mlflow: str


#: What to dump of each database. Rights and functions of Dagster's reader are made anew at a start.
DUMP_OPTIONS = {
    "sales": ["--schema=sales"],
    "dagster": ["--exclude-schema=monitoring", "--no-owner", "--no-privileges"],
    "mlflow": ["--no-owner", "--no-privileges"],
}


def versions(server: int) -> dict[str, str]:
    """Return the versions that a restore compares.

    Args:
        server: PostgreSQL's version as its clients know it (160004).
    """
    project = tomllib.loads((paths.REPOSITORY / "pyproject.toml").read_text())
    return {
        "forecast-assets": project["project"]["version"],
        "postgresql": f"{server // 10_000}.{server % 10_000}",
        "dagster": metadata.version("dagster"),
        "mlflow": metadata.version("mlflow"),
    }


def save(
    target: Path,
    addresses: Addresses,
    postgres_programs: Path,
    folders: dict[str, Path],
    calendar: list[str] | None = None,
) -> Manifest:
    """Make an archive; readers and writers of the databases go on meanwhile.

    Args:
        target: The archive.
        addresses: The databases.
        postgres_programs: The folder of pg_dump.
        folders: Name (`archive.FOLDERS`) -> a folder whose files to add.
        calendar: The embedded stack's calendar.

    Raises:
        StackError: A database cannot be read, or the archive cannot be written.
    """
    with new_archive(target) as writer:
        try:
            with psycopg.connect(addresses.sales, connect_timeout=10) as connection:
                connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
                connection.read_only = True
                ((snapshot, made_at),) = connection.execute(
                    "SELECT pg_export_snapshot(), now()"
                ).fetchall()
                held = read_contents(connection)
                numbers = versions(connection.info.server_version)
                sales = [*DUMP_OPTIONS["sales"], f"--snapshot={snapshot}"]
                programs.dump(postgres_programs, addresses.sales, writer.folder / "sales", sales)
        except psycopg.OperationalError as error:
            raise StackError(f"The sales database cannot be read: {_first_line(error)}") from error
        _add_dump(writer.folder / "sales", "sales", writer.add)
        for name, address in (("dagster", addresses.dagster), ("mlflow", addresses.mlflow)):
            programs.dump(postgres_programs, address, writer.folder / name, DUMP_OPTIONS[name])
            _add_dump(writer.folder / name, name, writer.add)
        # After MLflow's rows: what a row of the snapshot names was written before it.
        for name, folder in folders.items():
            writer.add_folder(name, folder)
        manifest = Manifest(
            made_at=made_at.astimezone(UTC).isoformat(timespec="seconds"),
            versions=numbers,
            revision=held.revision,
            offsets=held.offsets,
            rows=held.rows,
            calendar=calendar,
        )
        writer.finish(manifest)
    return manifest


def default_name() -> str:
    """Return a name for an archive that is made now."""
    return f"forecasts-{datetime.now(UTC):%Y%m%dT%H%M%SZ}.tar"


def _add_dump(path: Path, name: str, add: Callable[[str, Path], None]) -> None:
    """Add a dump to the archive, and free its space."""
    add(f"{name}.dump", path)
    path.unlink()


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
