"""A Kafka broker (KRaft, one process) on loopback, and the topic of the sales events."""

import json
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from kafka import KafkaAdminClient
from kafka.admin import NewTopic
from kafka.errors import KafkaError, TopicAlreadyExistsError
from pydantic import SecretStr

from local_stack import jars, java, network
from local_stack.errors import StackError
from local_stack.inherited import service_base
from local_stack.private import kept_secret, make_private, write_private
from local_stack.processes import START_SECONDS, Command, Processes, Record
from streaming_job.broker_access import PLAIN, BrokerAccess, login

NAME = "kafka"
#: The one user of the broker, for its clients and for itself.
USER = "sales"
#: One Spark task handles one topic-partition; more than a small machine's cores gain nothing.
TOPIC_PARTITIONS = 4
HEAP = "-Xmx512m"

# A healthy broker's INFO lines would only fill the disk; a failed start logs an ERROR or a WARN.
_LOG4J = """
status = error
appender.console.type = Console
appender.console.name = console
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = %d{ISO8601} %p %c - %m%n
rootLogger.level = warn
rootLogger.appenderRef.console.ref = console
logger.server.name = kafka.server.KafkaRaftServer
logger.server.level = info
"""


@dataclass(frozen=True)
class Certificate:
    """What a server shows to its clients, as PEM files.

    Attributes:
        certificate: The server's certificate, and those between it and the authority's.
        key: Its private key, in PKCS#8 and without a password.
        authority: The certificate of the authority that issued it.
    """

    certificate: Path
    key: Path
    authority: Path


class Kafka:
    """The embedded broker of one stack folder."""

    def __init__(
        self,
        processes: Processes,
        jars_folder: Path | None = None,
        *,
        tls: Certificate | None = None,
        further_settings: Mapping[str, object] | None = None,
    ) -> None:
        """Remember where things are; nothing is started yet.

        Args:
            processes: The processes of the stack.
            jars_folder: Folder of the broker's jars; by default the repository's.
            tls: What the port for clients shows them; by default it is not encrypted.
            further_settings: Settings of the broker beside, or instead of, `properties`.
        """
        self._tls = tls
        self._further_settings = further_settings
        self.processes = processes
        self.folder = processes.folder / NAME
        self.data = self.folder / "data"
        self._jars_folder = jars_folder
        self._ports_file = self.folder / "ports.json"
        self._properties_file = self.folder / "server.properties"
        self._password_file = self.folder / "password"
        self.port: int | None = None

    @property
    def bootstrap_servers(self) -> str:
        """The broker's address for clients."""
        if self.port is None:
            raise StackError("Kafka was not started.")
        return f"{network.LOOPBACK}:{self.port}"

    @property
    def access(self) -> BrokerAccess:
        """How clients prove who they are: with a password, made once for a stack folder."""
        return BrokerAccess(
            security_protocol="SASL_PLAINTEXT" if self._tls is None else "SASL_SSL",
            sasl_mechanism=PLAIN,
            sasl_username=USER,
            sasl_password=SecretStr(self.access_password),
            ssl_ca_file=None if self._tls is None else self._tls.authority,
        )

    @property
    def access_password(self) -> str:
        """The password of the broker's one user: never print it."""
        return kept_secret(self._password_file)

    def start(self) -> Record:
        """Start the broker; makes its data folder when new.

        Raises:
            StackError: No jars, no Java, a requested port is in use, the data folder is incomplete,
                or the broker does not come up.
        """
        class_path = str((self._jars_folder or jars.require_jars("kafka")) / "*")
        java_program = java.java_program()
        make_private(self.folder)
        before = self._ports_before()
        self.port = network.choose_port("STACK_KAFKA_PORT", before.get("broker"))
        controller = network.choose_port("STACK_KAFKA_CONTROLLER_PORT", before.get("controller"))
        self._ports_file.write_text(json.dumps({"broker": self.port, "controller": controller}))
        password = kept_secret(self._password_file)
        settings = properties(
            self.port, controller, self.data, password, self._tls, self._further_settings
        )
        write_private(self._properties_file, settings)
        (self.folder / "log4j2.properties").write_text(_LOG4J)
        if not (self.data / "meta.properties").exists():
            self._format(java_program, class_path)
        record = self.processes.start(
            Command(
                name=NAME,
                arguments=[
                    java_program,
                    HEAP,
                    "-XX:+UseG1GC",
                    # As an address: log4j would misread a blank in a path.
                    f"-Dlog4j2.configurationFile={(self.folder / 'log4j2.properties').as_uri()}",
                    "-cp",
                    class_path,
                    "kafka.Kafka",
                    str(self._properties_file),
                ],
                environment=service_base(),
                stop_seconds=20,
                tier=0,
            )
        )
        self.processes.wait_until_ready(record, self.is_ready, START_SECONDS, "answering clients")
        return record

    def resume(self) -> None:
        """Take up a broker that runs already."""
        self.port = self._ports_before().get("broker")

    def is_ready(self) -> bool:
        """Tell whether the broker answers."""
        if self.port is None or not network.is_listening(self.port):
            return False
        try:
            admin = self.admin()
        except KafkaError:
            return False
        try:
            admin.list_topics()
            return True
        except KafkaError:
            return False
        finally:
            admin.close()

    def admin(self) -> KafkaAdminClient:
        """Open an administration client; the caller closes it."""
        return KafkaAdminClient(
            bootstrap_servers=self.bootstrap_servers,
            client_id="local-stack",
            request_timeout_ms=10_000,
            **self.access.client_options(),
        )

    def create_topic(self, name: str, partitions: int = TOPIC_PARTITIONS) -> None:
        """Create a topic; leave an existing one as it is."""
        admin = self.admin()
        try:
            admin.create_topics([NewTopic(name, partitions, 1)], wait_for_metadata=True)
        except TopicAlreadyExistsError:
            return
        finally:
            admin.close()

    def delete_topic(self, name: str) -> None:
        """Delete a topic and its events."""
        admin = self.admin()
        try:
            admin.delete_topics([name])
        finally:
            admin.close()

    def remove(self) -> None:
        """Remove the events for good; the broker must be stopped."""
        if self.folder.exists():
            shutil.rmtree(self.folder)

    def _format(self, java_program: str, class_path: str) -> None:
        if self.data.exists() and any(self.data.iterdir()):
            raise StackError(
                f"{self.data} is an incomplete Kafka data folder (meta.properties is missing): "
                f"delete {self.folder} to start afresh (the events in it are lost)."
            )
        tool = [java_program, "-cp", class_path, "kafka.tools.StorageTool"]
        answer = subprocess.run(
            [
                *tool,
                "format",
                "--cluster-id",
                _cluster_id(),
                "--config",
                str(self._properties_file),
            ],
            capture_output=True,
            text=True,
            check=False,
            env=service_base(),
        )
        if answer.returncode:
            shutil.rmtree(self.data, ignore_errors=True)
            last = ((answer.stderr or answer.stdout).strip().splitlines() or ["no output"])[-1]
            raise StackError(f"Kafka's data folder {self.data} could not be made: {last}")

    def _ports_before(self) -> dict[str, int]:
        try:
            ports = json.loads(self._ports_file.read_text())
            return {str(name): int(port) for name, port in ports.items()}
        except (OSError, ValueError, AttributeError, TypeError):
            return {}


def properties(
    port: int,
    controller_port: int,
    data: Path,
    password: str,
    tls: Certificate | None = None,
    further: Mapping[str, object] | None = None,
) -> str:
    """Return the broker's settings: with TLS, they contain the certificate's key.

    Args:
        port: Port for clients.
        controller_port: Port of the KRaft controller.
        data: Folder of the logs.
        password: What both ports ask for: any user of the machine reaches them.
        tls: What the port for clients shows them; by default it is not encrypted.
        further: Settings beside, or instead of, those that are returned without it.
    """
    host = network.LOOPBACK
    broker_login = login(PLAIN, username=USER, password=password, **{f"user_{USER}": password})
    settings: dict[str, object] = {
        "process.roles": "broker,controller",
        "node.id": 1,
        "controller.quorum.voters": f"1@{host}:{controller_port}",
        "listeners": f"CLIENTS://{host}:{port},CONTROLLER://{host}:{controller_port}",
        "advertised.listeners": f"CLIENTS://{host}:{port}",
        "listener.security.protocol.map": (
            f"CLIENTS:{'SASL_PLAINTEXT' if tls is None else 'SASL_SSL'},CONTROLLER:SASL_PLAINTEXT"
        ),
        "controller.listener.names": "CONTROLLER",
        "inter.broker.listener.name": "CLIENTS",
        "sasl.enabled.mechanisms": PLAIN,
        "sasl.mechanism.inter.broker.protocol": PLAIN,
        "sasl.mechanism.controller.protocol": PLAIN,
        "listener.name.clients.plain.sasl.jaas.config": broker_login,
        "listener.name.controller.plain.sasl.jaas.config": broker_login,
        "log.dirs": data,
        # A misspelt topic must be an error, not a new, empty stream.
        "auto.create.topics.enable": "false",
        "num.partitions": TOPIC_PARTITIONS,
        # The deep audit reads every event again: none may expire.
        "log.retention.hours": -1,
        "log.retention.bytes": -1,
        # The defaults for internal topics assume three brokers and 50 partitions.
        "offsets.topic.replication.factor": 1,
        "offsets.topic.num.partitions": 4,
        "transaction.state.log.replication.factor": 1,
        "transaction.state.log.min.isr": 1,
        "transaction.state.log.num.partitions": 4,
        "share.coordinator.state.topic.replication.factor": 1,
        "share.coordinator.state.topic.min.isr": 1,
        "share.coordinator.state.topic.num.partitions": 1,
        "group.initial.rebalance.delay.ms": 0,
        # A killed broker can register again only after its old session has expired.
        "broker.session.timeout.ms": 4000,
        "broker.heartbeat.interval.ms": 1000,
        **({} if tls is None else _shown(tls)),
        **(further or {}),
    }
    return "".join(f"{key}={_property(str(value))}\n" for key, value in settings.items())


def _shown(tls: Certificate) -> dict[str, str]:
    """Return the settings for a certificate; the broker is a client of its own port, too."""
    return {
        "listener.name.clients.ssl.keystore.type": "PEM",
        "listener.name.clients.ssl.keystore.certificate.chain": tls.certificate.read_text(),
        "listener.name.clients.ssl.keystore.key": tls.key.read_text(),
        "listener.name.clients.ssl.truststore.type": "PEM",
        "listener.name.clients.ssl.truststore.certificates": tls.authority.read_text(),
    }


def _property(text: str) -> str:
    """Return a value as Java reads it from a properties file: ASCII, with backslash escapes."""
    units = (text.replace("\\", "\\\\")).encode("utf-16-be")
    letters = (int.from_bytes(units[i : i + 2]) for i in range(0, len(units), 2))
    return "".join(chr(one) if 0x20 <= one < 0x7F else f"\\u{one:04x}" for one in letters)


def _cluster_id() -> str:
    """Return a random id in Kafka's format: 16 bytes in URL-safe base64."""
    import base64
    import uuid

    while True:
        text = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        if not text.startswith("-"):
            return text
