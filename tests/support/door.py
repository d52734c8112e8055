"""The door of deploy/nginx, run by Debian's nginx on loopback in front of servers there."""

from __future__ import annotations

import os
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.client import HTTPSConnection
from pathlib import Path

import httpx
import pytest

from local_stack import network, paths
from tests.support.authority import Authority

START = paths.REPOSITORY / "deploy" / "nginx" / "start.sh"
#: Debian's users that are not root have no /usr/sbin on their PATH.
PATH = f"{os.environ['PATH']}:/usr/sbin"
START_SECONDS = 20.0


def require_nginx() -> None:
    """Skip the test where there is no nginx, but not in a pipeline."""
    found = shutil.which("nginx", path=PATH)
    if found is None and "CI" not in os.environ:
        pytest.skip("PATH has no nginx; on Debian: apt-get install --no-install-recommends nginx")
    assert found is not None, "PATH has no nginx"


def start(folder: Path, variables: Mapping[str, str], log: Path) -> subprocess.Popen[str]:
    """Start the door as its container does; what it prints goes to the log."""
    require_nginx()
    with log.open("a") as file:
        return subprocess.Popen(
            ["sh", str(START)],
            env={"PATH": PATH, "DOOR_FOLDER": str(folder), "DOOR_RESOLVER": "127.0.0.1"}
            | dict(variables),
            stdout=file,
            stderr=subprocess.STDOUT,
            text=True,
        )


class Door:
    """A running door.

    Attributes:
        host: Its name and port, as browsers write them.
        address: https:// and the same.
        authority: The certificate of the authority that issued its own.
        log: What it printed: a line for each request, and errors.
    """

    def __init__(self, port: int, authority: Path, log: Path) -> None:
        self.port, self.log = port, log
        self.host = f"localhost:{port}"
        self.address = f"https://{self.host}"
        self.authority = authority
        #: Headers and bodies of everything that `client` was answered.
        self.answers: list[str] = []

    def tls(self) -> ssl.SSLContext:
        """How to connect: its certificate counts, and no other authority."""
        return ssl.create_default_context(cafile=str(self.authority))

    def client(self, token: str = "", *, cookie: str = "", **headers: str) -> httpx.Client:
        """Return a client with a bearer token or a session; it follows no redirect."""
        if token:
            headers["Authorization"] = f"Bearer {token}"
        if cookie:
            headers["Cookie"] = f"forecast-service-session={cookie}"
        return httpx.Client(
            base_url=self.address,
            headers=headers,
            verify=self.tls(),
            trust_env=False,
            timeout=60,
            event_hooks={"response": [self._note]},
        )

    def raw(self, path: str, headers: Mapping[str, str]) -> tuple[int, dict[str, str], str]:
        """Send a path as it is, which no ordinary client does; return status, headers, body."""
        connection = HTTPSConnection("localhost", self.port, context=self.tls(), timeout=60)
        try:
            connection.putrequest("GET", path, skip_host=True)
            for name, value in ({"Host": self.host} | dict(headers)).items():
                connection.putheader(name, value)
            connection.endheaders()
            answer = connection.getresponse()
            body = answer.read().decode("utf-8", "replace")
            headers = {name.lower(): value for name, value in answer.getheaders()}
            self.answers.append(f"{headers} {body}")
            return answer.status, headers, body
        finally:
            connection.close()

    def _note(self, response: httpx.Response) -> None:
        response.read()
        self.answers.append(f"{response.headers} {response.text}")


@contextmanager
def opened(folder: Path, port: int, variables: Mapping[str, str]) -> Iterator[Door]:
    """Open a door on a port of loopback, with a certificate of a throw-away authority."""
    issued = Authority(folder / "authority").issue("localhost")
    log = folder / "door.log"
    process = start(
        folder / "run",
        {
            "DOOR_LISTEN": f"{network.LOOPBACK}:{port}",
            "DOOR_HOST": f"localhost:{port}",
            "DOOR_LOG": str(log),
            "DOOR_CERTIFICATE": str(issued.certificate),
            "DOOR_KEY": str(issued.key),
        }
        | dict(variables),
        log,
    )
    try:
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                socket.create_connection((network.LOOPBACK, port), 1).close()
                break
            except OSError:
                assert process.poll() is None, log.read_text()
                assert time.monotonic() < deadline, log.read_text()
                time.sleep(0.1)
        yield Door(port, issued.authority, log)
    finally:
        process.terminate()
        process.wait(30)
