"""The code server that Dagster's webserver and daemon share.

Given a Python module, the daemon would start a new code server every minute, beside the
webserver's own. A standing server with a workspace file that names its address spares that. The
webserver and daemon themselves live in `dagster_processes.py`; the repository's own
`workspace.yaml` is for commands that start a code server of their own (`dagster dev`).
"""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from local_stack import paths
from local_stack.environment import component_environment
from local_stack.errors import StackError
from local_stack.private import make_private
from local_stack.processes import START_SECONDS, Command, Processes, Record

NAME = "code-server"
#: The workspace's name for the code; Dagster keeps the state of sensors and schedules under it.
LOCATION = "forecast_assets"
#: Bytes of a Unix socket's path that the kernel accepts, without the closing NUL.
SOCKET_PATH_BYTES = 107
#: What gRPC takes for something else in an address, though file names may contain it.
SPECIAL_IN_ADDRESSES = frozenset("%#?,")
PING_SECONDS = 10.0


class CodeServer:
    """The standing code server of one stack folder.

    `dagster code-server start` runs the code in a child process, which the UI's Reload button
    replaces by one with the code as it is then. Measured: 75 MB and 0.007 cores more than
    `dagster api grpc`, whose code stays what it was at the start.
    """

    def __init__(self, processes: Processes) -> None:
        """Remember where things are; nothing is started yet.

        Args:
            processes: The processes of the stack.
        """
        self.processes = processes
        self.folder = processes.folder / "code_server"
        self.workspace = self.folder / "workspace.yaml"
        self.socket = _socket_folder(self.folder) / "socket"

    def resume(self) -> None:
        """Take up a server that runs already: its socket is always at the same place."""

    @property
    def address(self) -> str:
        """The address as gRPC spells it: a Unix socket, since any user may call a port."""
        return f"unix:{self.socket}"

    def start(self, values: Mapping[str, str]) -> Record:
        """Write the workspace file, start the server and wait until it answers.

        Args:
            values: The contract's variables.

        Raises:
            StackError: The server does not come up, or its socket's folder is somebody else's.
        """
        make_private(self.folder)
        _refuse_foreign(self.socket.parent)
        make_private(self.socket.parent)
        self.socket.unlink(missing_ok=True)
        self._write_workspace()
        record = self.processes.start(
            Command(
                name=NAME,
                arguments=[
                    paths.script("dagster"),
                    "code-server",
                    "start",
                    "--socket",
                    str(self.socket),
                    "--module-name",
                    paths.DEFINITIONS,
                    "--working-directory",
                    str(paths.REPOSITORY),
                    "--location-name",
                    LOCATION,
                ],
                environment=component_environment("dagster", values),
                # The daemon's sensors need it until they have ended.
                tier=0,
                whole_family=True,
            )
        )
        self.processes.wait_until_ready(record, self._is_ready, START_SECONDS, "answering")
        return record

    def answers(self) -> bool:
        """Tell whether the code behind the server answers, or is only too busy to do so in time.

        The started process passes the question on to its child, so this notices when that died.
        """
        import grpc

        return self._ping() in (grpc.StatusCode.OK, grpc.StatusCode.DEADLINE_EXCEEDED)

    def _is_ready(self) -> bool:
        import grpc

        return self._ping() is grpc.StatusCode.OK

    def _ping(self) -> object:
        import grpc

        # Loopback is never reached through a proxy, whatever the environment says.
        options = [("grpc.enable_http_proxy", 0)]
        with grpc.insecure_channel(self.address, options=options) as channel:
            try:
                # An empty message is an empty PingRequest: no need to import Dagster for it.
                channel.unary_unary("/api.DagsterApi/Ping")(b"", timeout=PING_SECONDS)
            except grpc.RpcError as error:
                return error.code()
        return grpc.StatusCode.OK

    def remove(self) -> None:
        """Remove the socket's folder where it is not in the stack's; the server must be stopped."""
        if self.socket.parent != self.folder and not self.socket.parent.is_symlink():
            shutil.rmtree(self.socket.parent, ignore_errors=True)

    def _write_workspace(self) -> None:
        server = {"socket": str(self.socket), "location_name": LOCATION}
        # JSON is YAML, and quotes whatever the folder's name holds.
        self.workspace.write_text(json.dumps({"load_from": [{"grpc_server": server}]}, indent=2))


def _socket_folder(folder: Path) -> Path:
    """Return the folder for the socket: the given one, or another where gRPC cannot use that."""
    is_short = len(os.fsencode(folder / "socket")) <= SOCKET_PATH_BYTES
    if is_short and SPECIAL_IN_ADDRESSES.isdisjoint(str(folder)):
        return folder
    digest = hashlib.sha256(os.fsencode(folder)).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"local-stack-code-{digest}"


def _refuse_foreign(folder: Path) -> None:
    """Refuse a folder that another user has made in the system's temporary folder.

    Raises:
        StackError: It is there.
    """
    if folder.is_symlink() or (folder.exists() and folder.stat().st_uid != os.geteuid()):
        raise StackError(f"{folder} belongs to someone else: delete it and start again.")
