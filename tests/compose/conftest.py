"""One stack of containers for the whole rehearsal, on the image of this checkout."""

import os
import socket
import subprocess
from collections.abc import Iterator

import pytest

from local_stack import network, paths
from tests.compose.containers import NETWORK, Containers, settings_text

#: Variables to set: take the image that is there, and leave the containers for a look at them.
SKIP_BUILD, KEEP = "REHEARSAL_SKIP_BUILD", "REHEARSAL_KEEP"


def free_port() -> str:
    with socket.socket() as taken:
        taken.bind((network.LOOPBACK, 0))
        return str(taken.getsockname()[1])


@pytest.fixture(scope="session")
def containers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Containers]:
    """The stack with made-up sales, started once; everything is removed at the end."""
    known = subprocess.run(
        ["docker", "network", "ls", "--format={{.Name}}"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if known.returncode:
        pytest.fail(f"The rehearsal needs a Docker engine: {known.stderr.strip()}")
    settings = tmp_path_factory.mktemp("compose") / ".env"
    settings.write_text(
        settings_text(
            {
                "STACK_UI_PORT": free_port(),
                "STACK_MLFLOW_PORT": free_port(),
                "STACK_SERVICE_PORT": free_port(),
                # A comparison of recipes takes minutes, and no test is about it.
                "FORECAST_CHALLENGER": "none",
            }
        )
    )
    settings.chmod(0o600)
    stack = Containers(settings)
    stack.remove()
    if NETWORK in subprocess.run(
        ["docker", "network", "ls", "--format={{.Name}}"],
        capture_output=True, text=True, check=True,
    ).stdout.split():  # fmt: skip
        pytest.fail(f"Another stack is up on {NETWORK}: end it with `make compose-down`.")
    if not os.environ.get(SKIP_BUILD):
        subprocess.run(
            ["docker", "build", "--tag=forecast-assets", "--file=deploy/docker/Dockerfile", "."],
            cwd=paths.REPOSITORY,
            # The classic builder needs no plugin.
            env=os.environ | {"DOCKER_BUILDKIT": "0"},
            check=True,
        )
    stack.start()
    yield stack
    if not os.environ.get(KEEP):
        stack.remove()
