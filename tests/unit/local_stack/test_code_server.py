"""The code server's address: a Unix socket in a folder that only its owner may enter."""

from pathlib import Path

import pytest
import yaml

from local_stack import paths
from local_stack.code_server import (
    LOCATION,
    SOCKET_PATH_BYTES,
    SPECIAL_IN_ADDRESSES,
    CodeServer,
)
from local_stack.errors import StackError
from local_stack.processes import Command, Processes, Record


class Recorded(Processes):
    """Processes that only note what they were told to start."""

    command: Command

    def start(self, command: Command) -> Record:
        self.command = command
        return Record(command.name, 1, 0.0, 0, command.stop_signal, command.stop_seconds)

    def wait_until_ready(self, *arguments: object) -> None:
        """Nothing was started."""


def started(folder: Path) -> tuple[CodeServer, dict[str, object], list[str]]:
    processes = Recorded(folder)
    server = CodeServer(processes)
    server.start({})
    (entry,) = yaml.safe_load(server.workspace.read_text())["load_from"]
    return server, entry["grpc_server"], list(processes.command.arguments)


def test_a_short_folder_has_a_socket(tmp_path: Path) -> None:
    server, entry, arguments = started(tmp_path)
    assert entry == {"socket": str(server.socket), "location_name": LOCATION}
    assert arguments[arguments.index("--socket") + 1] == str(server.socket)
    assert server.address == f"unix:{server.socket}"
    assert server.socket.parent.stat().st_mode & 0o777 == 0o700


def test_a_long_folder_has_a_socket_elsewhere_that_is_as_private(tmp_path: Path) -> None:
    folder = tmp_path / ("long" * (SOCKET_PATH_BYTES // 4))
    server, entry, arguments = started(folder)
    elsewhere = server.socket.parent
    try:
        assert entry == {"socket": str(server.socket), "location_name": LOCATION}
        assert len(str(server.socket)) <= SOCKET_PATH_BYTES
        assert "--port" not in arguments
        assert elsewhere.stat().st_mode & 0o777 == 0o700
        assert CodeServer(Processes(folder)).address == server.address
    finally:
        server.remove()
    assert not elsewhere.exists()


def test_a_planted_link_in_the_temporary_folder_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / ("long" * (SOCKET_PATH_BYTES // 4))
    elsewhere = CodeServer(Processes(folder)).socket.parent
    elsewhere.symlink_to(tmp_path)
    try:
        with pytest.raises(StackError, match="belongs to someone else"):
            started(folder)
    finally:
        elsewhere.unlink()


@pytest.mark.parametrize("name", ["a%20b", "a#b", "a?b", "a,b"])
def test_a_folder_that_grpc_would_misread_has_a_socket_elsewhere(tmp_path: Path, name: str) -> None:
    server, entry, _ = started(tmp_path / name)
    try:
        assert entry["socket"] == str(server.socket)
        assert SPECIAL_IN_ADDRESSES.isdisjoint(str(server.socket))
    finally:
        server.remove()


@pytest.mark.parametrize("name", ["a b", "späte Größe", "a[1]"])
def test_blanks_and_letters_keep_the_socket(tmp_path: Path, name: str) -> None:
    server, entry, _ = started(tmp_path / name)
    assert entry["socket"] == str(server.socket)


def test_a_server_that_is_not_there_does_not_answer(tmp_path: Path) -> None:
    assert not CodeServer(Processes(tmp_path)).answers()


def test_every_workspace_and_code_server_names_the_same_code() -> None:
    (entry,) = yaml.safe_load((paths.REPOSITORY / "workspace.yaml").read_text())["load_from"]
    assert entry["python_module"]["module_name"] == paths.DEFINITIONS
    assert entry["python_module"]["location_name"] == LOCATION
    docker = paths.REPOSITORY / "deploy" / "docker"
    (entry,) = yaml.safe_load((docker / "workspace.yaml").read_text())["load_from"]
    composed = yaml.safe_load((paths.REPOSITORY / "docker-compose.yml").read_text())["services"]
    command = composed["code-server"]["command"][-1].split()
    assert f"--socket={entry['grpc_server']['socket']}" in command
    assert f"--module-name={paths.DEFINITIONS}" in command
    assert f"--location-name={LOCATION}" in command
    for service in ("code-server", "dagster-webserver", "dagster-daemon"):
        assert "code-server:/var/lib/code-server" in composed[service]["volumes"]
    assert entry["grpc_server"]["location_name"] == LOCATION
