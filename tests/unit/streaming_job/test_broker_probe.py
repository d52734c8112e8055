"""What does not fit between the settings and a broker's listener is said, and within seconds."""

import re
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from local_stack.kafka import Certificate
from streaming_job import broker_probe
from streaming_job.broker_access import BrokerAccess
from streaming_job.broker_probe import (
    BrokerDownError,
    PasswordWantedError,
    check_access,
    find_fault,
)
from streaming_job.errors import SettingsError, UnavailableError
from tests.support.authority import Authority

NO_SASL, UNSUPPORTED = 34, 33


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "Authority with blanks")


@pytest.fixture(autouse=True)
def short_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(broker_probe, "PROBE_SECONDS", 0.5)


def access(protocol: str, authority: Authority | Path | None = None) -> BrokerAccess:
    return BrokerAccess(
        security_protocol=protocol,
        sasl_username="user",
        sasl_password="pass-word",
        ssl_ca_file=authority.certificate if isinstance(authority, Authority) else authority,
    )


def handshake_answer(code: int, refusal: str = "") -> Callable[[socket.socket], None]:
    """Answer as Kafka does to the first request, whatever it is, and then to logins."""

    def answer(client: socket.socket) -> None:
        (size,) = struct.unpack(">i", client.recv(4, 0 if _is_tls(client) else socket.MSG_WAITALL))
        if size > 1_000_000:
            return  # as Kafka does with a request that is too large
        client.recv(size)
        name = b"SCRAM-SHA-512"
        body = struct.pack(f">ihih{len(name)}s", 1, code, 1, len(name), name)
        client.sendall(struct.pack(">i", len(body)) + body)
        while client.recv(1_000):
            text = refusal.encode()
            login = 58 if refusal else 0
            body = struct.pack(f">ihh{len(text)}si", 1, login, len(text), text, 0)
            client.sendall(struct.pack(">i", len(body)) + body)

    return answer


def _is_tls(client: socket.socket) -> bool:
    return isinstance(client, ssl.SSLSocket)


def silence(client: socket.socket) -> None:
    client.recv(1_000)
    time.sleep(30)


def web_server(client: socket.socket) -> None:
    client.recv(1_000)
    client.sendall(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")


def hang_up(_client: socket.socket) -> None:
    return


@contextmanager
def listener(
    serve: Callable[[socket.socket], None],
    tls: Certificate | None = None,
    *,
    asks_for_certificate: bool = False,
) -> Iterator[str]:
    """Listen on loopback; yield host and port."""
    context = None
    if tls is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(tls.certificate, tls.key)
        if asks_for_certificate:
            context.load_verify_locations(tls.authority)
            context.verify_mode = ssl.CERT_REQUIRED

    def handle(client: socket.socket) -> None:
        with client, suppress(OSError, struct.error):
            if context is None:
                serve(client)
            else:
                with context.wrap_socket(client, server_side=True) as encrypted:
                    serve(encrypted)

    def accept(server: socket.socket) -> None:
        with suppress(OSError):
            while True:
                client, _ = server.accept()
                threading.Thread(target=handle, args=(client,), daemon=True).start()

    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        threading.Thread(target=accept, args=(server,), daemon=True).start()
        yield f"127.0.0.1:{server.getsockname()[1]}"


@pytest.mark.parametrize(
    ("protocol", "code"), [("SSL", NO_SASL), ("SASL_SSL", 0), ("PLAINTEXT", NO_SASL)]
)
def test_a_listener_that_fits_is_no_fault(authority: Authority, protocol: str, code: int) -> None:
    tls = authority.issue() if protocol.endswith("SSL") else None
    with listener(handshake_answer(code), tls) as servers:
        assert find_fault(servers, access(protocol, authority)) is None
        check_access(f"127.0.0.1:1,{servers}", access(protocol, authority))


@pytest.mark.parametrize(
    ("protocol", "has_tls", "code", "message"),
    [
        ("SASL_PLAINTEXT", True, 0, "speaks TLS on this port.*set it to SASL_SSL"),
        ("PLAINTEXT", True, NO_SASL, "speaks TLS on this port.*set it to SSL"),
        ("SASL_SSL", False, 0, "speaks no TLS on this port"),
        ("SSL", False, NO_SASL, "speaks no TLS.*KAFKA_SECURITY_PROTOCOL=PLAINTEXT"),
        ("SSL", True, 0, "asks for a user and a password: set .*=SASL_SSL.*SCRAM-SHA-512"),
        ("PLAINTEXT", False, UNSUPPORTED, "asks for a user.*=SASL_PLAINTEXT"),
        ("SASL_PLAINTEXT", False, NO_SASL, "asks for no password.*=PLAINTEXT"),
        ("SASL_SSL", True, UNSUPPORTED, "does not offer KAFKA_SASL_MECHANISM=PLAIN, but SCRAM"),
    ],
)
def test_the_other_protocol_is_named(
    authority: Authority, protocol: str, has_tls: bool, code: int, message: str
) -> None:
    tls = authority.issue() if has_tls else None
    with listener(handshake_answer(code), tls) as servers:
        fault = find_fault(f"{servers},127.0.0.1:1", access(protocol, authority))
        assert isinstance(fault, SettingsError)
        assert re.match(f"Kafka at {servers} {message}", str(fault))
        assert "\n" not in str(fault) and "pass-word" not in str(fault)
        if isinstance(fault, PasswordWantedError):
            # Only if no client gets in either.
            check_access(servers, access(protocol, authority))
        else:
            with pytest.raises(SettingsError, match=message):
                check_access(servers, access(protocol, authority))


def test_what_is_wrong_with_a_certificate_is_named(authority: Authority, tmp_path: Path) -> None:
    other = Authority(tmp_path / "other")
    now = datetime.now(UTC)
    expired = (now - timedelta(days=9), now - timedelta(days=2))
    cases = [
        (authority.issue(), other.certificate, "authority that is not in KAFKA_SSL_CA_FILE=.*set"),
        (authority.issue(), None, "not in the system's authorities, and KAFKA_SSL_CA_FILE is not"),
        (authority.issue("kafka.example"), authority.certificate, "is not for 127.0.0.1"),
        (authority.issue(valid=expired), authority.certificate, "not valid .*expired"),
    ]
    for certificate, trusted, message in cases:
        with (
            listener(handshake_answer(0), certificate) as servers,
            pytest.raises(SettingsError, match=message),
        ):
            check_access(servers, access("SASL_SSL", trusted))


def test_a_file_of_authorities_must_be_one(authority: Authority, tmp_path: Path) -> None:
    empty = tmp_path / "empty.pem"
    empty.touch()
    cases = [
        (tmp_path / "missing.pem", "cannot be read.*No such file"),
        (tmp_path, "cannot be read.*directory"),
        (authority.der_file(), "is no PEM file"),
        (empty, "is no PEM file"),
        (authority.issue().key, "is no PEM file"),
    ]
    for path, message in cases:
        with pytest.raises(SettingsError, match=f"KAFKA_SSL_CA_FILE={path}.*{message}"):
            check_access("127.0.0.1:1", access("SSL", path))


def test_a_wrong_password_is_told_without_it() -> None:
    with (
        listener(handshake_answer(0, "Authentication failed")) as server,
        pytest.raises(SettingsError, match="KAFKA_SASL_PASSWORD") as refused,
    ):
        check_access(server, access("SASL_PLAINTEXT"))
    assert "'user'" in str(refused.value) and "Authentication failed" in str(refused.value)
    assert "pass-word" not in str(refused.value)


def test_a_port_is_a_number() -> None:
    with pytest.raises(SettingsError, match="KAFKA_BOOTSTRAP_SERVERS=localhost:kafka is no list"):
        check_access("localhost:kafka", access("PLAINTEXT"))


def test_a_broker_that_is_down_is_waited_for() -> None:
    for servers, message in (
        ("127.0.0.1:1", "does not answer: Connection refused"),
        ("broker.invalid:9092", "does not answer: the name broker.invalid is unknown"),
    ):
        check_access(servers, access("SSL"))
        fault = find_fault(servers, access("SSL"))
        assert isinstance(fault, BrokerDownError)
        assert message in str(fault)


@pytest.mark.parametrize("protocol", ["PLAINTEXT", "SASL_SSL"])
@pytest.mark.parametrize(
    ("serve", "message"),
    [(silence, "nothing comes back"), (web_server, "as Kafka does"), (hang_up, "as Kafka does")],
)
def test_what_is_no_broker_is_told_within_seconds(
    protocol: str, serve: Callable[[socket.socket], None], message: str, authority: Authority
) -> None:
    began = time.monotonic()
    with listener(serve) as servers, pytest.raises(UnavailableError, match=message):
        check_access(servers, access(protocol, authority))
    assert time.monotonic() - began < 5


def test_a_broker_that_wants_a_clients_certificate_says_so(authority: Authority) -> None:
    with (
        listener(handshake_answer(0), authority.issue(), asks_for_certificate=True) as servers,
        pytest.raises(UnavailableError, match="asks for a client's certificate"),
    ):
        check_access(servers, access("SASL_SSL", authority))
