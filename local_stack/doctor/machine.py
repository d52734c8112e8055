"""The machine under a stack: disk, memory, ports, and who may read its files."""

import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

import psutil

from local_stack import network, paths
from local_stack.doctor.findings import Finding, ok, problem, warning
from local_stack.own_settings import PORTS
from local_stack.postgres import NAME as POSTGRES
from local_stack.private import OWNER_AND_PASSAGE
from local_stack.stack import NEEDED_BYTES, Stack

#: Free memory below which Java, PostgreSQL and the runs push each other out.
NEEDED_MEMORY_BYTES = 512 * 1024**2
#: Files that hold secrets, below the stack's folder.
SECRETS = (
    "postgres/credentials.json",
    "kafka/password",
    "kafka/server.properties",
    "*/token",
)


def examine_machine(stack: Stack) -> Iterator[Finding]:
    """Look at disk, memory, ports and files."""
    yield from examine_space(stack.folder, shutil.disk_usage(_existing(stack.folder)).free)
    yield from examine_memory(psutil.virtual_memory().available)
    yield from examine_ports(stack)
    yield from examine_files(stack.folder, paths.DOTENV)


def examine_space(folder: Path, free: int) -> Iterator[Finding]:
    """Compare the free space of a disk with what a stack needs."""
    text = f"{free / 1e9:,.1f} GB free on the disk of {folder}"
    if free < NEEDED_BYTES:
        yield problem("disk", text, "free some space: PostgreSQL and Kafka stop on a full disk")
    elif free < 5 * NEEDED_BYTES:
        yield warning("disk", text, "free some space before it is needed")
    else:
        yield ok("disk", text)


def examine_memory(available: int) -> Iterator[Finding]:
    """Compare the available memory with what a run needs."""
    text = f"{available / 1e9:,.1f} GB of memory available"
    if available < NEEDED_MEMORY_BYTES:
        yield warning(
            "memory", text, "end other programs: the kernel kills the largest one when it is full"
        )
    else:
        yield ok("memory", text)


def examine_ports(stack: Stack) -> Iterator[Finding]:
    """Look for ports that services would get and others have."""
    taken = False
    for name, service, file in (
        ("postgres", stack.postgres, stack.postgres.port_file),
        ("mlflow", stack.mlflow, stack.mlflow.port_file),
        ("dagster-webserver", stack.dagster, stack.dagster.port_file),
        ("service", stack.service, stack.service.port_file),
        ("exporter", stack.exporter, stack.exporter.port_file),
    ):
        port = network.remembered_port(file)
        if service.port is None and port is not None and not network.is_free(port):
            taken = True
            yield warning(
                "ports",
                f"port {port}, which {name} had, is taken by {_who_listens(port)}",
                "none needed: the next start takes another one, and links change",
            )
    for variable in PORTS:
        asked = os.environ.get(variable, "").strip()
        if asked.isdigit() and not network.is_free(int(asked)) and not stack.processes.alive():
            taken = True
            yield problem(
                "ports",
                f"{variable}={asked} is taken by {_who_listens(int(asked))}",
                f"end that program, or set {variable} to another port in .env.local",
            )
    if not taken:
        yield ok("ports", "no other program has the stack's ports")


def _who_listens(port: int) -> str:
    try:
        for connection in psutil.net_connections("tcp"):
            if connection.laddr and connection.laddr[1] == port and connection.pid:
                return f"{psutil.Process(connection.pid).name()} (PID {connection.pid})"
    except psutil.Error:
        return "a program of another user"
    return "a program of another user"


def examine_files(folder: Path, dotenv: Path) -> Iterator[Finding]:
    """Look for files of a stack that others could read, or that its user could not write."""
    if not folder.exists():
        yield ok("files", f"{folder} does not exist yet")
        return
    wrong = 0
    private = [folder, *folder.parent.glob(paths.STACKS.name), folder / "logs", folder / "run"]
    secrets = [path for pattern in SECRETS for path in folder.glob(pattern)]
    for path in [*private, *secrets, dotenv]:
        if not path.exists():
            continue
        status = path.stat()
        mode = stat.S_IMODE(status.st_mode)
        # PostgreSQL's user may pass through the stack's folders when root started it.
        allowed = OWNER_AND_PASSAGE if path.is_dir() else 0o600
        if status.st_uid != os.geteuid():
            wrong += 1
            yield problem(
                "files",
                f"{path} belongs to the user {status.st_uid}, and this is {os.geteuid()}",
                f"run the stack as its owner, or: chown -R {os.geteuid()} {path}",
            )
        elif mode & ~allowed:
            wrong += 1
            yield problem(
                "files",
                f"{path} is open to others (mode {mode:o})",
                f"chmod {'700' if path.is_dir() else '600'} {path}, and start anew with `make "
                "down DELETE=1` if others have read it",
            )
    if not wrong:
        yield ok("files", f"{POSTGRES}'s passwords and all tokens are their owner's alone")


def _existing(folder: Path) -> Path:
    return next(part for part in (folder, *folder.parents) if part.exists())
