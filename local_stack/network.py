"""Ports on loopback: which are free, and which one a service takes."""

import os
import socket
from contextlib import closing, suppress
from pathlib import Path

from local_stack.errors import StackError

LOOPBACK = "127.0.0.1"


def is_free(port: int) -> bool:
    """Tell whether a server could listen on a loopback port now.

    Every server started here sets `SO_REUSEADDR`, so connections of an earlier run that linger
    in TIME_WAIT do not block a port.
    """
    with closing(socket.socket(socket.AF_INET, socket.SOCK_STREAM)) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
        return True


def is_listening(port: int) -> bool:
    """Tell whether something accepts connections on a loopback port."""
    with closing(socket.socket(socket.AF_INET, socket.SOCK_STREAM)) as probe:
        probe.settimeout(1)
        return probe.connect_ex((LOOPBACK, port)) == 0


def free_ports(count: int) -> list[int]:
    """Return ports that are free now, no two the same."""
    sockets = []
    try:
        for _ in range(count):
            opened = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            sockets.append(opened)
            opened.bind((LOOPBACK, 0))
        return [opened.getsockname()[1] for opened in sockets]
    finally:
        for opened in sockets:
            with suppress(OSError):
                opened.close()


def remembered_port(file: Path) -> int | None:
    """Return the port in a file, None without a file or a number in it."""
    try:
        return int(file.read_text())
    except (OSError, ValueError):
        return None


def choose_port(variable: str, *preferred: int | None) -> int:
    """Return the port for a service.

    Args:
        variable: Environment variable in which the user may request a port.
        preferred: Ports to try first, best first (such as the one used before).

    Returns:
        The port in `variable`, else the first preferred port that is free, else any free port.

    Raises:
        StackError: The variable is not a port number, or its port is taken.
    """
    requested = os.environ.get(variable, "").strip()
    if requested:
        if not requested.isdigit() or not 0 < int(requested) < 65536:
            raise StackError(
                f"{variable}={requested} is not a port number: use one from 1 to 65535."
            )
        if not is_free(int(requested)):
            raise StackError(
                f"Port {requested} is in use: free it, set {variable} to another port, "
                f"or unset {variable} to let the stack choose."
            )
        return int(requested)
    for port in preferred:
        if port is not None and is_free(port):
            return port
    return free_ports(1)[0]
