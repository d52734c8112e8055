"""Ports on loopback: free ones, the one used before, a clear word when a wished one is taken."""

import os
import socket
from contextlib import closing, suppress
from pathlib import Path

from local_stack.errors import StackError

LOOPBACK = "127.0.0.1"


def is_free(port: int) -> bool:
    """Tells whether a server could listen on a loopback port now.

    ``SO_REUSEADDR`` is set because every server started here sets it: connections of an earlier
    run that linger in TIME_WAIT do not make a port taken.
    """
    with closing(socket.socket(socket.AF_INET, socket.SOCK_STREAM)) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
        return True


def is_listening(port: int) -> bool:
    """Tells whether something accepts connections on a loopback port."""
    with closing(socket.socket(socket.AF_INET, socket.SOCK_STREAM)) as probe:
        probe.settimeout(1)
        return probe.connect_ex((LOOPBACK, port)) == 0


def free_ports(count: int) -> list[int]:
    """Returns ports that are free now, all different."""
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
    """Returns the port that a file holds, None when there is no such file or no number in it."""
    try:
        return int(file.read_text())
    except (OSError, ValueError):
        return None


def choose_port(variable: str, *preferred: int | None) -> int:
    """Chooses the port of a service.

    Args:
        variable: Environment variable by which the user may insist on a port.
        preferred: Ports to take when they are free, best first (the one used before).

    Returns:
        The port that ``variable`` names, else the first preferred one that is free, else any.

    Raises:
        StackError: The variable is not a port number, or its port is taken.
    """
    wished = os.environ.get(variable, "").strip()
    if wished:
        if not wished.isdigit() or not 0 < int(wished) < 65536:
            raise StackError(f"{variable}={wished} is not a port number: give one in 1..65535.")
        if not is_free(int(wished)):
            raise StackError(
                f"Port {wished} is taken: free it, or set {variable} to another port, "
                f"or unset {variable} to let the stack choose."
            )
        return int(wished)
    for port in preferred:
        if port is not None and is_free(port):
            return port
    return free_ports(1)[0]
