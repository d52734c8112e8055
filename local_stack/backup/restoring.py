"""Putting an archive in place: into new databases, compared with the manifest, then swapped in.

Until the swap, which is one transaction, the databases that are there stay as they are. Afterwards
the ledger decides where the stream goes on: Kafka's events from its offsets on are read again.
"""

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from local_stack import schema
from local_stack.backup import archive, programs
from local_stack.backup.archive import DATABASES, Manifest
from local_stack.backup.contents import read_contents
from local_stack.backup.saving import DUMP_OPTIONS, Addresses, versions
from local_stack.errors import StackError
from local_stack.postgres_roles import close, create_database, read_access, run_scripts
from streaming_job.audit import audit

#: Suffixes of the databases that wait for the swap, and of those that it has replaced.
NEW, OLD = "_restoring", "_replaced"
# Whoever has rows of sales, runs or stores has something to lose.
_HAS_ROWS = (
    ("sales", "sales.stores"),
    ("sales", "sales.streams"),
    ("sales", "sales.raw_sales"),
    ("dagster", "public.runs"),
)
_OTHERS = """
SELECT DISTINCT datname, coalesce(nullif(application_name, ''), usename::text, 'unnamed')
FROM pg_stat_activity
WHERE datname = ANY (%s) AND pid <> pg_backend_pid() AND backend_type = 'client backend'
ORDER BY 1, 2
"""


@dataclass(frozen=True)
class Target:
    """Where to restore to.

    Attributes:
        addresses: The databases with their owners; they need not exist.
        admin: The server's superuser, in the database `postgres`.
        programs: The folder of pg_restore.
        artifacts: The folder of MLflow's artifacts.
        log: Where the output of a migration that failed goes.
    """

    addresses: Addresses
    admin: str
    programs: Path
    artifacts: Path
    log: Path

    def address(self, name: str, suffix: str = "") -> str:
        """Return the address of a database, or of its successor or predecessor."""
        address: str = getattr(self.addresses, name)
        # Alembic reads no other form than this one.
        return urlsplit(address)._replace(path=f"/{_database(address)}{suffix}").geturl()

    def database(self, name: str) -> str:
        """Return a database's name on the server."""
        return _database(getattr(self.addresses, name))

    def connect(self, name: str | None = None, suffix: str = "") -> psycopg.Connection:
        """Connect as the superuser, by default to the database of no component."""
        address = self.admin
        if name is not None:
            address = make_conninfo(address, dbname=f"{self.database(name)}{suffix}")
        return psycopg.connect(address, autocommit=True, connect_timeout=10)


def check(path: Path, server: int) -> Manifest:
    """Return the manifest of an archive that this code and server can restore.

    Args:
        path: The archive.
        server: The version of the PostgreSQL that shall hold it.

    Raises:
        StackError: It is damaged, or newer than the code or the server.
    """
    manifest = archive.verify(path)
    if manifest.revision not in schema.known_revisions():
        raise StackError(
            f"{path} has the schema {manifest.revision}, and this code knows none after "
            f"{schema.known_revisions()[-1]}: restore it with the version that made it, or a later "
            f"one ({manifest.versions.get('forecast-assets')})."
        )
    mine = versions(server)
    # What is stored stays alike within one major PostgreSQL, and within a minor of the others.
    for name, parts in (("postgresql", 1), ("dagster", 2), ("mlflow", 2)):
        if _order(manifest.versions[name], parts) > _order(mine[name], parts):
            raise StackError(
                f"{path} comes from {name} {manifest.versions[name]}, and this is {mine[name]}: "
                "restore it with that version or a later one."
            )
    return manifest


def restore(path: Path, target: Target, *, replace: bool, say: Callable[[str], None]) -> Manifest:
    """Restore an archive.

    Args:
        path: The archive.
        target: Where to.
        replace: Whether databases that hold something may be replaced.
        say: Called with what was done.

    Returns:
        Its manifest.

    Raises:
        StackError: It cannot be restored there; what is there stays as it is.
    """
    with target.connect() as admin:
        manifest = check(path, admin.info.server_version)
        say(f"the archive of {manifest.made_at} is complete, schema {manifest.revision}")
        _refuse_users(admin, target)
        if not replace:
            _refuse_rows(admin, target)
        for name in DATABASES:
            _drop(admin, target.database(name) + NEW)
        try:
            for name in DATABASES:
                _fill(admin, path, target, name)
            _compare(target, manifest)
            _bring_up_to_date(target, manifest, say)
            # New files beside those that are there: a run's files never change.
            archive.extract_folder(path, "artifacts", target.artifacts)
            _swap(admin, target)
        finally:
            for name in DATABASES:
                _drop(admin, target.database(name) + NEW)
        for name in DATABASES:
            _drop(admin, target.database(name) + OLD)
    return manifest


def _refuse_users(admin: psycopg.Connection, target: Target) -> None:
    """Refuse databases that somebody works in: the stream would go on in the old ones."""
    names = [target.database(name) for name in DATABASES]
    others = admin.execute(_OTHERS, (names,)).fetchall()
    if others:
        who = ", ".join(f"{name} in {database}" for database, name in others)
        raise StackError(f"The databases are in use ({who}): end the stack first.")


def _refuse_rows(admin: psycopg.Connection, target: Target) -> None:
    known = {row[0] for row in admin.execute("SELECT datname FROM pg_database")}
    for name, table in _HAS_ROWS:
        if target.database(name) not in known:
            continue
        with target.connect(name) as connection:
            ((there,),) = connection.execute("SELECT to_regclass(%s)", (table,)).fetchall()
            if there is None:
                continue
            statement = sql.SQL("SELECT EXISTS (SELECT FROM {})").format(
                sql.Identifier(*table.split("."))
            )
            ((has_rows,),) = connection.execute(statement).fetchall()
        if has_rows:
            raise StackError(
                f"The database {target.database(name)} holds rows ({table}): back it up, then "
                "restore with --replace (make restore REPLACE=1), which deletes them."
            )


def _fill(admin: psycopg.Connection, path: Path, target: Target, name: str) -> None:
    """Create a database beside the one that it shall replace, and restore its dump."""
    access = read_access().databases[name]
    create_database(admin, target.database(name) + NEW, access)
    with target.connect(name, NEW) as connection:
        close(connection, access)
    archive.read_member(
        path,
        f"{name}.dump",
        partial(
            programs.restore,
            target.programs,
            target.address(name, NEW),
            options=[option for option in DUMP_OPTIONS[name] if option.startswith("--no-")],
        ),
    )
    with target.connect(name, NEW) as connection:
        run_scripts(connection, access)
        # A dump has no statistics, and without them the first queries take wrong ways.
        connection.execute("ANALYZE")


def _compare(target: Target, manifest: Manifest) -> None:
    """Compare what was restored with the manifest, and the ledger with the rows."""
    address = target.address("sales", NEW)
    with psycopg.connect(address) as connection:
        held = read_contents(connection)
    if (held.offsets, held.rows) != (manifest.offsets, manifest.rows):
        differ = [
            f"{table}: {held.rows.get(table)} instead of {count}"
            for table, count in manifest.rows.items()
            if held.rows.get(table) != count
        ]
        raise StackError(
            f"What was restored is not what was saved ({'; '.join(differ) or 'other offsets'}); "
            "nothing was replaced."
        )


def _bring_up_to_date(target: Target, manifest: Manifest, say: Callable[[str], None]) -> None:
    """Migrate the restored sales, and prove that the ledger balances."""
    newest = schema.known_revisions()[-1]
    schema.migrate(target.address("sales", NEW), target.log.parent, target.log)
    if manifest.revision != newest:
        say(f"the schema was migrated from {manifest.revision} to {newest}")
    faults = audit(target.address("sales", NEW)).faults
    if faults:
        raise StackError(f"The archive's ledger does not balance ({faults[0]}): nothing replaced.")
    say(f"{sum(manifest.rows.values()):,} rows restored; the ledger balances")


def _swap(admin: psycopg.Connection, target: Target) -> None:
    """Give the new databases their names, all at once."""
    _refuse_users(admin, target)
    known = {row[0] for row in admin.execute("SELECT datname FROM pg_database")}
    for name in DATABASES:
        # A restore that was cut short after its swap has left it; its successor is in place.
        _drop(admin, target.database(name) + OLD)
    with admin.transaction():
        for name in DATABASES:
            database = target.database(name)
            if database in known:
                _rename(admin, database, database + OLD)
            _rename(admin, database + NEW, database)


def _rename(admin: psycopg.Connection, name: str, new: str) -> None:
    admin.execute(
        sql.SQL("ALTER DATABASE {} RENAME TO {}").format(sql.Identifier(name), sql.Identifier(new))
    )


def _drop(admin: psycopg.Connection, name: str) -> None:
    admin.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))


def _database(address: str) -> str:
    return str(conninfo_to_dict(address)["dbname"])


def _order(version: str, parts: int) -> tuple[int, ...]:
    """Return what to compare of a version: its first numbers, up to what is no number."""
    numbers: list[int] = []
    for part in version.split(".")[:parts]:
        if not part.isdigit():
            break
        numbers.append(int(part))
    return tuple(numbers)


def replace_folder(path: Path, name: str, target: Path) -> None:
    """Replace a folder by that of an archive; without one there, it is removed."""
    fresh = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        count = archive.extract_folder(path, name, fresh)
        shutil.rmtree(target, ignore_errors=True)
        if count:
            fresh.rename(target)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
