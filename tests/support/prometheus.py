"""Prometheus's own tools for the tests of `deploy/monitoring`: promtool, amtool, the server."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from local_stack import network, paths

MONITORING = paths.REPOSITORY / "deploy" / "monitoring"


def program(name: str) -> str:
    """Return a program of Prometheus; skip the test where there is none, but not in a pipeline."""
    path = shutil.which(name)
    if path is None and "CI" not in os.environ:
        pytest.skip(
            f"PATH has no {name}; on Debian: apt-get install prometheus prometheus-alertmanager"
        )
    assert path is not None, f"PATH has no {name}"
    return path


def run(name: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run a program of Prometheus to its end."""
    return subprocess.run(
        [program(name), *map(str, arguments)], capture_output=True, text=True, check=False
    )


@dataclass
class Prometheus:
    """A running Prometheus."""

    address: str

    def ask(self, path: str, **parameters: str) -> Any:
        """Return the data of an answer of the API."""
        query = urllib.parse.urlencode(parameters)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(f"{self.address}/api/v1/{path}?{query}", timeout=10) as answer:
            content = json.load(answer)
        assert content["status"] == "success", content
        return content["data"]

    def query(self, expression: str) -> list[dict[str, Any]]:
        """Return the samples of an expression now."""
        result: list[dict[str, Any]] = self.ask("query", query=expression)["result"]
        return result


@contextmanager
def watching(config: Path, folder: Path) -> Iterator[Prometheus]:
    """Start a Prometheus on loopback; end it with the block."""
    port = network.free_ports(1)[0]
    server = Prometheus(f"http://{network.LOOPBACK}:{port}")
    with (folder / "prometheus.log").open("w") as log:
        process = subprocess.Popen(
            [
                program("prometheus"),
                f"--config.file={config}",
                f"--storage.tsdb.path={folder / 'tsdb'}",
                f"--web.listen-address={network.LOOPBACK}:{port}",
            ],
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        deadline = time.monotonic() + 60
        while True:
            try:
                server.ask("targets")
                break
            except OSError:
                said = (folder / "prometheus.log").read_text()
                assert process.poll() is None, said
                assert time.monotonic() < deadline, said
                time.sleep(0.2)
        yield server
    finally:
        process.terminate()
        process.wait(30)
