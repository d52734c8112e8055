"""Ports: free ones, remembered ones, and those that the user insists on."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from local_stack import network
from local_stack.errors import StackError

VARIABLE = "STACK_TEST_PORT"


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        yield server.getsockname()[1]


def test_free_ports_are_free_and_different() -> None:
    ports = network.free_ports(5)
    assert len(set(ports)) == 5
    assert all(network.is_free(port) for port in ports)


def test_a_listener_is_noticed(taken: int) -> None:
    assert not network.is_free(taken)
    assert network.is_listening(taken)
    assert not network.is_listening(network.free_ports(1)[0])


def test_the_port_used_before_is_preferred() -> None:
    (before,) = network.free_ports(1)
    assert network.choose_port(VARIABLE, None, before) == before


def test_another_is_taken_when_it_is_in_use(taken: int) -> None:
    assert network.choose_port(VARIABLE, taken) != taken


def test_a_wished_port_that_is_taken_is_refused(
    taken: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, str(taken))
    with pytest.raises(StackError, match=rf"Port {taken} is in use: .*{VARIABLE}") as refused:
        network.choose_port(VARIABLE)
    assert "\n" not in str(refused.value)


def test_a_wished_port_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    (wished,) = network.free_ports(1)
    monkeypatch.setenv(VARIABLE, str(wished))
    assert network.choose_port(VARIABLE, 1) == wished


@pytest.mark.parametrize("nonsense", ["http", "0", "70000", "-1"])
def test_a_wish_that_is_no_port_is_refused(nonsense: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, nonsense)
    with pytest.raises(StackError, match="is not a port number"):
        network.choose_port(VARIABLE)


@pytest.mark.parametrize(("text", "expected"), [("4711", 4711), ("", None), ("x", None)])
def test_remembered_port(text: str, expected: int | None, tmp_path: Path) -> None:
    (tmp_path / "port").write_text(text)
    assert network.remembered_port(tmp_path / "port") == expected
    assert network.remembered_port(tmp_path / "absent") is None
