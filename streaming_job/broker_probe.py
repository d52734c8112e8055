"""What is wrong between the settings and the broker's listener: TLS, certificates, passwords.

kafka-python tries again until its time is up and then tells a time-out, whatever the reason was;
and it waits for ever for a TLS handshake that nobody answers. So a connection is tried here first,
with the request that every listener answers before it knows who asks, and then the login.
"""

from __future__ import annotations

import socket
import ssl
import struct
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, replace

from kafka.cluster import collect_hosts
from kafka.net.sasl import get_sasl_mechanism

from streaming_job.broker_access import BrokerAccess
from streaming_job.errors import SettingsError, StreamError, UnavailableError

#: How long a listener may take for each step, in seconds.
PROBE_SECONDS = 5.0

#: Numbers of Kafka's requests, each with its version.
_SASL_HANDSHAKE, _SASL_AUTHENTICATE = (17, 1), (36, 0)
_UNSUPPORTED_MECHANISM, _NO_SASL = 33, 34
#: Longest answer to read, in bytes; it names a handful of mechanisms.
_LONGEST_ANSWER = 10_000
#: OpenSSL's codes of a certificate whose authority is not among the trusted ones.
_UNKNOWN_AUTHORITY = (2, 18, 19, 20, 21)
_WRONG_HOST = (62, 64)
_RULE = "see KAFKA_SECURITY_PROTOCOL in .env.example"


@dataclass(frozen=True)
class _Answer:
    """What a listener answers to the question for a way to log in."""

    code: int
    mechanisms: tuple[str, ...]
    refusal: str | None = None
    """Why the login failed; None if it did not, or was not tried."""


class _NotKafkaError(Exception):
    """The listener answers, but not as the settings expect it to."""


class BrokerDownError(UnavailableError):
    """Nothing listens at the address; a client that waits may see it come."""


class PasswordWantedError(SettingsError):
    """The broker seems to ask for a password, and the settings have none."""


def check_access(bootstrap_servers: str, access: BrokerAccess) -> None:
    """Refuse what no client should wait for: settings that do not fit, a handshake without end.

    A broker that is down is left to the clients, which wait for it for some seconds. So is one that
    offers logins to a client without: other makes of brokers may do so and still let it in.

    Args:
        bootstrap_servers: host:port of one or more brokers; one that fits is enough.
        access: The settings.

    Raises:
        SettingsError: A broker answers, but the settings do not fit it, or are wrong themselves.
        UnavailableError: What listens there does not speak as a broker does.
    """
    fault = find_fault(bootstrap_servers, access)
    if fault is not None and not isinstance(fault, BrokerDownError | PasswordWantedError):
        raise fault


def find_fault(bootstrap_servers: str, access: BrokerAccess) -> StreamError | None:
    """Return what keeps clients from a broker; None if one of the addresses fits the settings.

    Raises:
        SettingsError: The file of KAFKA_SSL_CA_FILE cannot be read, or an address is none.
    """
    context = access.tls_context()
    addresses = _addresses(bootstrap_servers)
    faults: list[StreamError] = []
    # Side by side: brokers that are down must not add up their time-outs.
    pool = ThreadPoolExecutor(max_workers=min(len(addresses), 8), thread_name_prefix="probe")
    try:
        for done in as_completed(
            [pool.submit(_fault_of, host, port, access, context) for host, port in addresses]
        ):
            fault = done.result()
            if fault is None:
                return None
            faults.append(fault)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
    return min(faults, key=_severity)


def _severity(fault: StreamError) -> int:
    """Return the place of a fault: a broker that is down must not hide what another says."""
    return 0 if isinstance(fault, SettingsError) else 1 + isinstance(fault, BrokerDownError)


def _addresses(bootstrap_servers: str) -> list[tuple[str, int]]:
    """Return hosts and ports as kafka-python reads them.

    Raises:
        SettingsError: A port is no number.
    """
    try:
        hosts = collect_hosts(bootstrap_servers, randomize=False)
    except ValueError as error:
        raise SettingsError(
            f"KAFKA_BOOTSTRAP_SERVERS={bootstrap_servers} is no list of host:port ({error})"
        ) from error
    return [(host, port) for host, port, _family in hosts]


def _fault_of(
    host: str, port: int, access: BrokerAccess, context: ssl.SSLContext | None
) -> StreamError | None:
    broker = f"Kafka at {host}:{port}"
    try:
        answer = _ask(host, port, access.sasl_mechanism, context, login=access)
    except ssl.SSLCertVerificationError as error:
        return SettingsError(f"{broker} {_certificate_fault(error, host, port, access)}")
    except socket.gaierror:
        return BrokerDownError(f"{broker} does not answer: the name {host} is unknown")
    except (OSError, _NotKafkaError) as error:
        return _explain(host, port, access, error)
    return _login_fault(broker, answer, access)


def _login_fault(broker: str, answer: _Answer, access: BrokerAccess) -> SettingsError | None:
    """Return what is wrong with the settings for the password."""
    if answer.code == _NO_SASL:
        if not access.has_sasl:
            return None
        protocol = access.security_protocol.removeprefix("SASL_")
        return SettingsError(
            f"{broker} asks for no password on this port: set KAFKA_SECURITY_PROTOCOL={protocol}, "
            "or KAFKA_BOOTSTRAP_SERVERS to the port that asks for one"
        )
    offered = ", ".join(answer.mechanisms) or "none"
    if not access.has_sasl:
        protocol = "SASL_SSL" if access.has_tls else "SASL_PLAINTEXT"
        return PasswordWantedError(
            f"{broker} asks for a user and a password: set KAFKA_SECURITY_PROTOCOL={protocol}, "
            f"KAFKA_SASL_MECHANISM (it offers {offered}), KAFKA_SASL_USERNAME and "
            "KAFKA_SASL_PASSWORD"
        )
    if answer.code == _UNSUPPORTED_MECHANISM:
        return SettingsError(
            f"{broker} does not offer KAFKA_SASL_MECHANISM={access.sasl_mechanism}, "
            f"but {offered}: set it to one of these"
        )
    if answer.refusal is not None:
        return SettingsError(
            f"{broker} does not know the user {access.sasl_username!r} with this password "
            f"({answer.refusal}): set KAFKA_SASL_USERNAME, KAFKA_SASL_PASSWORD and "
            "KAFKA_SASL_MECHANISM to what it knows"
        )
    return None


def _certificate_fault(
    error: ssl.SSLCertVerificationError, host: str, port: int, access: BrokerAccess
) -> str:
    reason = error.verify_message.rstrip(".")
    if error.verify_code in _WRONG_HOST:
        return (
            f"shows a certificate that is not for {host} ({reason}): write the name that the "
            "certificate is for into KAFKA_BOOTSTRAP_SERVERS and the broker's advertised.listeners"
        )
    if error.verify_code in _UNKNOWN_AUTHORITY:
        trusted = (
            "the system's authorities, and KAFKA_SSL_CA_FILE is not set"
            if access.ssl_ca_file is None
            else f"KAFKA_SSL_CA_FILE={access.ssl_ca_file}"
        )
        return (
            f"shows a certificate of an authority that is not in {trusted} ({reason}): set "
            "KAFKA_SSL_CA_FILE to the PEM file of the authority that issued it"
        )
    return (
        f"shows a certificate that is not valid ({reason}): renew it on the broker, or set the "
        "clock of this machine"
    )


def _explain(host: str, port: int, access: BrokerAccess, error: Exception) -> StreamError:
    """Tell a listener of the other kind from a broker that is down."""
    broker = f"Kafka at {host}:{port}"
    text = error.strerror if isinstance(error, OSError) else None
    reason = " ".join((text or str(error)).split()) or type(error).__name__
    if not _accepts(host, port):
        return BrokerDownError(f"{broker} does not answer: {reason}")
    if access.has_tls:
        if _answers(host, port, access.sasl_mechanism, None):
            protocol = access.security_protocol.replace("SSL", "PLAINTEXT")
            return SettingsError(
                f"{broker} speaks no TLS on this port: set KAFKA_BOOTSTRAP_SERVERS to its port "
                f"with TLS, or KAFKA_SECURITY_PROTOCOL={protocol}"
            )
        if not isinstance(error, TimeoutError) and _speaks_tls(host, port):
            # With TLS 1.3 the handshake is over before a broker misses the certificate.
            return UnavailableError(
                f"{broker} encrypts the connection and then closes it ({reason}): see the "
                "broker's log. If it asks for a client's certificate, for which there is no "
                "setting, use a listener with SASL_SSL that does not"
            )
    elif not isinstance(error, TimeoutError) and _speaks_tls(host, port):
        protocol = "SASL_SSL" if access.has_sasl else "SSL"
        return SettingsError(
            f"{broker} speaks TLS on this port, and KAFKA_SECURITY_PROTOCOL="
            f"{access.security_protocol} does not: set it to {protocol}, and KAFKA_SSL_CA_FILE to "
            "its authority's PEM file"
        )
    if isinstance(error, TimeoutError):
        return UnavailableError(
            f"{broker} does not answer: the connection is accepted and nothing comes back within "
            f"{PROBE_SECONDS:.0f} s"
        )
    return UnavailableError(
        f"what listens at {host}:{port} does not answer as Kafka does ({reason}): wait until the "
        f"broker has started, and compare host, port and protocol ({_RULE})"
    )


def _ask(
    host: str,
    port: int,
    mechanism: str,
    context: ssl.SSLContext | None,
    login: BrokerAccess | None = None,
) -> _Answer:
    """Ask a listener for a way to log in, which it answers before it knows who asks.

    If it offers the way, and `login` has a password, log in.

    Raises:
        OSError: No connection, or it breaks; a `ssl.SSLError` among others.
        _NotKafkaError: The answer is none of Kafka's.
    """
    name = mechanism.encode()
    with socket.create_connection((host, port), timeout=PROBE_SECONDS) as plain:
        connection = context.wrap_socket(plain, server_hostname=host) if context else plain
        with connection:
            question = struct.pack(f">h{len(name)}s", len(name), name)
            answer = _parse(_exchange(connection, _SASL_HANDSHAKE, question))
            if answer.code == 0 and login is not None and login.has_sasl:
                return replace(answer, refusal=_log_in(connection, login))
            return answer


def _log_in(connection: socket.socket, access: BrokerAccess) -> str | None:
    """Log in over a connection that has agreed on the mechanism; return why that failed.

    Raises:
        OSError: The connection breaks.
        _NotKafkaError: The answer is none of Kafka's.
    """
    mechanism = get_sasl_mechanism(access.sasl_mechanism)(**access.client_options())
    while not mechanism.is_done():
        token = mechanism.auth_bytes()
        answer = _exchange(connection, _SASL_AUTHENTICATE, struct.pack(">i", len(token)) + token)
        try:
            code, length = struct.unpack_from(">hh", answer, 4)
            if code:
                return answer[8 : 8 + max(length, 0)].decode() or f"error {code}"
            mechanism.receive(answer[12 + max(length, 0) :])
        except (struct.error, LookupError, ValueError) as error:
            raise _NotKafkaError("it is another protocol's answer") from error
    return None


def _exchange(connection: socket.socket, kind: tuple[int, int], body: bytes) -> bytes:
    """Send a request and return its answer, without the length before it.

    Raises:
        OSError: The connection breaks.
        _NotKafkaError: The answer is none of Kafka's.
    """
    client = b"probe"
    request = struct.pack(f">hhih{len(client)}s", *kind, 1, len(client), client) + body
    connection.sendall(struct.pack(">i", len(request)) + request)
    (size,) = struct.unpack(">i", _read(connection, 4))
    if not 10 <= size <= _LONGEST_ANSWER:
        raise _NotKafkaError("it is another protocol's answer")
    return _read(connection, size)


def _parse(answer: bytes) -> _Answer:
    try:
        correlation, code, count = struct.unpack_from(">ihi", answer)
        position, mechanisms = 10, []
        for _ in range(count):
            (length,) = struct.unpack_from(">h", answer, position)
            mechanisms.append(answer[position + 2 : position + 2 + length].decode())
            position += 2 + length
    except (struct.error, UnicodeDecodeError) as error:
        raise _NotKafkaError("it is another protocol's answer") from error
    if correlation != 1:
        raise _NotKafkaError("it is another protocol's answer")
    return _Answer(code, tuple(mechanisms))


def _read(connection: socket.socket, size: int) -> bytes:
    received = b""
    while len(received) < size:
        part = connection.recv(size - len(received))
        if not part:
            raise _NotKafkaError("it closes the connection")
        received += part
    return received


def _accepts(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), timeout=PROBE_SECONDS).close()
    except OSError:
        return False
    return True


def _answers(host: str, port: int, mechanism: str, context: ssl.SSLContext | None) -> bool:
    try:
        _ask(host, port, mechanism, context)
    except (OSError, _NotKafkaError):
        return False
    return True


def _speaks_tls(host: str, port: int) -> bool:
    """Tell whether a listener completes a handshake; nothing is sent over it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        with (
            socket.create_connection((host, port), timeout=PROBE_SECONDS) as plain,
            context.wrap_socket(plain, server_hostname=host),
        ):
            return True
    except OSError:
        return False
