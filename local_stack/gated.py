"""What the stack's two web servers share: the token that lets in, and the link that signs in.

The gate itself is in `forecast_assets/servers/gate.py`; the servers' commands in the subclasses.
"""

from abc import ABC, abstractmethod
from pathlib import Path

from forecast_assets.servers.gate import sign_in_link
from local_stack.private import kept_secret


class Gated(ABC):
    """A web server behind the gate."""

    _token_file: Path

    @property
    @abstractmethod
    def url(self) -> str:
        """The server's address."""

    @property
    def token(self) -> str:
        """The secret that lets in, made once for a stack folder."""
        return kept_secret(self._token_file)

    @property
    def sign_in_link(self) -> str:
        """Address that opens the server's pages and signs in; for its owner alone."""
        return sign_in_link(self.url, self.token)
