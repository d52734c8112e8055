"""TLS in front of the embedded PostgreSQL, whose wheel is built without it.

Clients see a server with `ssl = on`, and the session behind the handshake is PostgreSQL's own.
"""

import contextlib
import select
import socket
import ssl
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import quote, urlsplit

from local_stack.kafka import Certificate

_SSL_REQUEST, _GSS_REQUEST = 80877103, 80877104


class PostgresPort:
    """A port in front of PostgreSQL; see `postgres_port`."""

    def __init__(
        self, url: str, tls: Certificate | None, *, requires_tls: bool, version: bytes | None
    ) -> None:
        behind = urlsplit(url)
        self._behind = (behind.hostname, behind.port)
        self._requires_tls = requires_tls
        self._version = version
        self._context: ssl.SSLContext | None = None
        if tls is not None:
            self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._context.load_cert_chain(tls.certificate, tls.key)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def url(self, url: str, host: str = "127.0.0.1", **parameters: object) -> str:
        """Return the address of the same database behind this port."""
        parts = urlsplit(url)
        user = parts.netloc.rpartition("@")[0]
        query = "&".join(f"{key}={quote(str(value), safe='')}" for key, value in parameters.items())
        return f"postgresql://{user}@{host}:{self.port}{parts.path}" + (query and f"?{query}")

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        # A client that hangs up, in a handshake or later, ends its connection and nothing else.
        with client, contextlib.suppress(OSError):
            first = client.recv(8, socket.MSG_WAITALL)
            (code,) = struct.unpack(">i", first[4:])
            while code == _GSS_REQUEST or (code == _SSL_REQUEST and self._context is None):
                client.sendall(b"N")
                first = client.recv(8, socket.MSG_WAITALL)
                (code,) = struct.unpack(">i", first[4:])
            if code == _SSL_REQUEST and self._context is not None:
                client.sendall(b"S")
                with self._context.wrap_socket(client, server_side=True) as encrypted:
                    self._relay(encrypted, b"")
            elif self._requires_tls:
                # An unread rest would reset the connection and take the answer with it.
                client.recv(struct.unpack(">i", first[:4])[0] - 8, socket.MSG_WAITALL)
                client.sendall(_refusal())
            else:
                self._relay(client, first)

    def _relay(self, client: socket.socket, first: bytes) -> None:
        with socket.create_connection(self._behind) as server:
            server.sendall(first)
            while True:
                waiting = isinstance(client, ssl.SSLSocket) and client.pending()
                ready = [client] if waiting else select.select([client, server], [], [])[0]
                for source in ready:
                    data = source.recv(65536)
                    if not data:
                        return
                    if source is server:
                        client.sendall(self._with_version(data))
                    else:
                        server.sendall(data)

    def _with_version(self, data: bytes) -> bytes:
        """Replace the server's version in its greeting by one of the same length."""
        begin = data.find(b"server_version\0")
        if self._version is None or begin < 0:
            return data
        begin += len(b"server_version\0")
        end = data.index(b"\0", begin)
        return data[:begin] + self._version.ljust(end - begin)[: end - begin] + data[end:]


def _refusal() -> bytes:
    """Return what PostgreSQL answers where pg_hba.conf has `hostssl` lines only."""
    text = (
        'no pg_hba.conf entry for host "127.0.0.1", user "sales_stream", database "sales", '
        "no encryption"
    )
    fields = b"".join(
        kind + value.encode() + b"\0"
        for kind, value in ((b"S", "FATAL"), (b"V", "FATAL"), (b"C", "28000"), (b"M", text))
    )
    return b"E" + struct.pack(">i", len(fields) + 5) + fields + b"\0"


@contextmanager
def postgres_port(
    url: str,
    tls: Certificate | None = None,
    *,
    requires_tls: bool = True,
    version: bytes | None = None,
) -> Iterator[PostgresPort]:
    """Open a port in front of PostgreSQL.

    Args:
        url: An address of the server behind it.
        tls: What it shows to clients; None: it has no TLS.
        requires_tls: Whether it refuses clients without TLS.
        version: The version that it claims to be.
    """
    port = PostgresPort(url, tls, requires_tls=requires_tls, version=version)
    try:
        yield port
    finally:
        port.close()
