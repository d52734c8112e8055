"""The code server that Dagster's webserver and daemon share.

Given a Python module, the daemon would start a new code server every minute, beside the
webserver's own. A standing server with a workspace file that names its address spares that. The
webserver and daemon themselves live in `dagster_processes.py`; the repository's own
`workspace.yaml` is for commands that start a code server of their own (`dagster dev`).
"""

import json
import os
from collections.abc import Mapping

from local_stack import network, paths
from local_stack.environment import component_environment
from local_stack.processes import Command, Processes, Record

NAME = "code-server"
#: Seconds to import the asset graph on a busy machine of two cores.
START_SECONDS = 180.0
#: The workspace's name for the code; Dagster keeps the state of sensors and schedules under it.
LOCATION = "forecast_assets"
#: Bytes of a Unix socket's path that the kernel accepts, without the closing NUL.
SOCKET_PATH_BYTES = 107
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
        self.socket = self.folder / "socket"
        self._port_file = self.folder / "port"
        self.port: int | None = None

    @property
    def _fits_socket(self) -> bool:
        return len(os.fsencode(self.socket)) <= SOCKET_PATH_BYTES

    def resume(self) -> None:
        """Take up a server that runs already."""
        if not self._fits_socket:
            self.port = network.remembered_port(self._port_file)

    @property
    def address(self) -> str:
        """The address as gRPC spells it: a Unix socket, or host and port."""
        return f"unix:{self.socket}" if self._fits_socket else f"{network.LOOPBACK}:{self.port}"

    def start(self, values: Mapping[str, str]) -> Record:
        """Write the workspace file, start the server and wait until it answers.

        Args:
            values: The contract's variables.

        Raises:
            StackError: The server does not come up.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        place = self._choose_place()
        self._write_workspace(place)
        record = self.processes.start(
            Command(
                name=NAME,
                arguments=[
                    paths.script("dagster"),
                    "code-server",
                    "start",
                    *(part for key, value in place.items() for part in (f"--{key}", str(value))),
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

    def _choose_place(self) -> dict[str, str | int]:
        if self._fits_socket:
            self.socket.unlink(missing_ok=True)
            return {"socket": str(self.socket)}
        self.port = network.choose_port(
            "STACK_CODE_SERVER_PORT", network.remembered_port(self._port_file)
        )
        self._port_file.write_text(str(self.port))
        return {"host": network.LOOPBACK, "port": self.port}

    def _write_workspace(self, place: Mapping[str, str | int]) -> None:
        server = {**place, "location_name": LOCATION}
        # JSON is YAML, and quotes whatever the folder's name holds.
        self.workspace.write_text(json.dumps({"load_from": [{"grpc_server": server}]}, indent=2))
