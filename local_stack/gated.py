"""What the stack's web servers share: a port that is kept, and the token that lets in.

The gate itself is in `forecast_assets/servers/gate.py`; the servers' commands in the subclasses.
"""

from forecast_assets.servers.gate import sign_in_link
from local_stack import network
from local_stack.private import kept_secret, make_private
from local_stack.processes import Processes


class WebServer:
    """A web server of one stack folder, on loopback.

    Attributes:
        processes: The processes of the stack.
        folder: The server's own folder.
        port: Its port; None before it was started or taken up.
        port_file: Where the port is kept for the next start.
    """

    def __init__(self, processes: Processes, folder: str) -> None:
        """Remember where things are; nothing is started yet.

        Args:
            processes: The processes of the stack.
            folder: Name of the server's folder in the stack's.
        """
        self.processes = processes
        self.folder = processes.folder / folder
        self.port_file = self.folder / "port"
        self._token_file = self.folder / "token"
        self.port: int | None = None

    def resume(self) -> None:
        """Take up a server that runs already."""
        self.port = network.remembered_port(self.port_file)

    @property
    def url(self) -> str:
        """The server's address."""
        return f"http://{network.LOOPBACK}:{self.port}"

    @property
    def token(self) -> str:
        """The secret that lets in, made once for a stack folder."""
        return kept_secret(self._token_file)

    def _take_port(self, variable: str, usual: int | None = None) -> None:
        """Choose the port and keep it for the next start.

        Args:
            variable: The variable with which a user asks for a port.
            usual: The port to prefer at the first start.

        Raises:
            StackError: A requested port is in use.
        """
        make_private(self.folder)
        self.port = network.choose_port(variable, network.remembered_port(self.port_file), usual)
        self.port_file.write_text(str(self.port))


class Gated(WebServer):
    """A web server behind the gate."""

    @property
    def sign_in_link(self) -> str:
        """Address that opens the server's pages and signs in; for its owner alone."""
        return sign_in_link(self.url, self.token)
