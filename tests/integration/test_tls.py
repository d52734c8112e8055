"""A broker with SASL and TLS, and a PostgreSQL with TLS, as settings of every command.

The certificates come from an authority that lives as long as the tests. The broker lets each user
do what docs/security.md says it needs, and nothing else.
"""

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest
from kafka.admin import (
    ACL,
    ACLOperation,
    ACLPermissionType,
    NewTopic,
    ResourcePattern,
    ResourceType,
    UserScramCredentialUpsertion,
)
from typer.testing import CliRunner, Result

from forecast_assets.commands.main import app as forecast_app
from forecast_assets.settings import settings
from local_stack.kafka import Kafka
from local_stack.processes import Processes
from local_stack.stack import Stack
from streaming_job import kafka_client, producer
from streaming_job.cli import app as stream_app
from tests.support.authority import Authority
from tests.support.databases import copied_database
from tests.support.tls_postgres import PostgresPort, postgres_port

SCRAM = "SCRAM-SHA-512"
PASSWORD = 'pass-"word" \\ with, signs;'
#: User -> what it may do with the topic.
USERS = {
    "stream": (ACLOperation.DESCRIBE, ACLOperation.READ),
    "sender": (ACLOperation.WRITE,),
    "stranger": (),
}
TOPIC = "sales-encrypted"
COMMANDS = {
    "produce": ["produce", "--date", "2015-06-01"],
    "run": ["run"],
    "audit": ["audit", "--deep"],
}
NEEDS_DATABASE = ("run", "audit")


@dataclass
class Encrypted:
    """A broker and a PostgreSQL with TLS, and the settings to reach them."""

    kafka: Kafka
    postgres: PostgresPort
    authority: Authority
    other_authority: Authority
    files: Path
    urls: dict[str, str]
    folder: Path

    def url(self, name: str, **parameters: object) -> str:
        wanted = {"sslmode": "verify-full", "sslrootcert": self.authority.certificate}
        return self.postgres.url(self.urls[name], **(wanted | parameters))

    def settings(self, command: str) -> dict[str, str]:
        return {
            "KAFKA_BOOTSTRAP_SERVERS": self.kafka.bootstrap_servers,
            "KAFKA_SECURITY_PROTOCOL": "SASL_SSL",
            "KAFKA_SASL_MECHANISM": SCRAM,
            "KAFKA_SASL_USERNAME": "sender" if command == "produce" else "stream",
            "KAFKA_SASL_PASSWORD": PASSWORD,
            "KAFKA_SSL_CA_FILE": str(self.authority.certificate),
            "SALES_TOPIC": TOPIC,
            "STREAM_DATABASE_URL": self.url("STREAM_DATABASE_URL"),
            "FORECAST_DATABASE_URL": self.url("FORECAST_DATABASE_URL"),
        }

    def environment(self, stack: Stack, folder: Path, **changes: str) -> dict[str, str]:
        """Return the environment of a stream in a process of its own."""
        points = {"SPARK_STREAM_CHECKPOINTS_PATH": str(folder / "checkpoints")}
        return stack.component_environment("stream", self.settings("run") | points | changes)

    def invoke(self, command: str, **changes: str) -> Result:
        """Run a command of the stream in this process."""
        arguments = [*COMMANDS[command]]
        if command == "produce":
            arguments += ["--data", str(self.files)]
        return CliRunner().invoke(stream_app, arguments, env=self.settings(command) | changes)


def _grant(kafka: Kafka) -> None:
    with closing(kafka.admin()) as admin:
        admin.create_topics([NewTopic(TOPIC, 2, 1)], wait_for_metadata=True)
        answers = admin.alter_user_scram_credentials(
            [UserScramCredentialUpsertion(user, SCRAM, PASSWORD) for user in USERS]
        )
        assert set(answers.values()) == {None}
        topic = ResourcePattern(ResourceType.TOPIC, TOPIC)
        granted = admin.create_acls(
            [
                ACL(f"User:{user}", "*", operation, ACLPermissionType.ALLOW, topic)
                for user, operations in USERS.items()
                for operation in operations
            ]
        )
        assert granted["failed"] == []


@contextmanager
def _broker(folder: Path, authority: Authority) -> Iterator[Kafka]:
    settings = {
        "listener.name.clients.sasl.enabled.mechanisms": f"PLAIN,{SCRAM}",
        "listener.name.clients.scram-sha-512.sasl.jaas.config": (
            "org.apache.kafka.common.security.scram.ScramLoginModule required;"
        ),
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "super.users": "User:sales",
    }
    processes = Processes(folder)
    kafka = Kafka(processes, tls=authority.issue(), further_settings=settings)
    try:
        kafka.start()
        _grant(kafka)
        yield kafka
    finally:
        processes.stop_all()


@pytest.fixture(scope="module")
def encrypted(
    stack: Stack, kaggle_files: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Encrypted]:
    folder = tmp_path_factory.mktemp("verschlüsselt with blanks ")
    authority = Authority(folder / "authority")
    with (
        copied_database(stack) as database,
        _broker(folder / "stack", authority) as kafka,
        postgres_port(stack.postgres.url("postgres", database), authority.issue()) as postgres,
    ):
        yield Encrypted(
            kafka,
            postgres,
            authority,
            Authority(folder / "other"),
            kaggle_files,
            stack.database_urls(database),
            folder,
        )


def test_events_go_all_the_way_over_tls(
    encrypted: Encrypted, stack: Stack, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, value in encrypted.settings("run").items():
        monkeypatch.setenv(name, value)
    settings.cache_clear()
    try:
        loaded = CliRunner().invoke(
            forecast_app, ["load", "--data", str(encrypted.files), "--until", "2015-05-31"]
        )
    finally:
        settings.cache_clear()
    assert loaded.exit_code == 0, loaded.output + loaded.stderr
    sent = encrypted.invoke("produce")
    assert sent.exit_code == 0, sent.stderr
    rows = _numbers(sent.stdout)[0]
    environment = encrypted.environment(stack, tmp_path)
    with psycopg.connect(encrypted.urls["OWNER_DATABASE_URL"], autocommit=True) as connection:
        stream = subprocess.Popen([sys.executable, "-m", "streaming_job", "run"], env=environment)
        try:
            deadline = time.monotonic() + 90
            while _stored(connection) < rows:
                assert stream.poll() is None and time.monotonic() < deadline
                time.sleep(0.2)
        finally:
            stream.send_signal(signal.SIGTERM)
            assert stream.wait(30) == 0
    audited = encrypted.invoke("audit")
    assert audited.exit_code == 0, audited.stderr
    assert f"compared {rows:,} events" in audited.stdout
    _refused(encrypted.invoke("audit", KAFKA_SASL_USERNAME="sender"), "refuses access")


def _stored(connection: psycopg.Connection) -> int:
    (row,) = connection.execute(
        "SELECT count(*) FROM sales.raw_sales WHERE topic_partition >= 0 AND stream_id IN "
        "(SELECT stream_id FROM sales.streams WHERE topic = %s)",
        (TOPIC,),
    ).fetchall()
    return int(row[0])


def _numbers(text: str) -> list[int]:
    return [int(word.replace(",", "")) for word in text.split() if word.replace(",", "").isdigit()]


def _refused(answer: Result, message: str) -> None:
    """Check that a command ended with one line that says this, and no secret."""
    line = " ".join(answer.stderr.split())
    assert answer.exit_code == 3, f"{answer.exit_code}: {answer.output}{answer.exception!r}"
    lines = [one for one in answer.stderr.splitlines() if "error:" in one]
    assert len(lines) == 1 and lines[0] == answer.stderr.splitlines()[-1]
    assert message in line
    assert "does not answer" not in line
    assert PASSWORD not in line and "Traceback" not in line


@pytest.fixture(autouse=True)
def short_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (kafka_client, producer):
        monkeypatch.setattr(module, "BOOTSTRAP_MS", 3_000)


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"KAFKA_SSL_CA_FILE": "{other}"}, "an authority that is not in KAFKA_SSL_CA_FILE="),
        ({"KAFKA_SSL_CA_FILE": "{folder}/none.pem"}, "cannot be read (No such file"),
        ({"KAFKA_SSL_CA_FILE": "{der}"}, "is no PEM file of certificates"),
        ({"KAFKA_SECURITY_PROTOCOL": "SASL_PLAINTEXT"}, "speaks TLS on this port"),
        ({"KAFKA_SECURITY_PROTOCOL": "PLAINTEXT"}, "speaks TLS on this port"),
        ({"KAFKA_SECURITY_PROTOCOL": "SSL"}, "asks for a user and a password"),
        ({"KAFKA_SASL_MECHANISM": "SCRAM-SHA-256"}, "but PLAIN, SCRAM-SHA-512"),
        ({"KAFKA_SASL_PASSWORD": "wrong"}, "set KAFKA_SASL_USERNAME, KAFKA_SASL_PASSWORD"),
        ({"KAFKA_SASL_MECHANISM": "PLAIN"}, "set KAFKA_SASL_USERNAME, KAFKA_SASL_PASSWORD"),
        ({"KAFKA_BOOTSTRAP_SERVERS": "{plain}"}, "speaks no TLS on this port"),
        ({"KAFKA_SASL_USERNAME": "stranger"}, f"Kafka refuses access to the topic {TOPIC!r}"),
        ({"KAFKA_SASL_USERNAME": "sales", "KAFKA_SASL_MECHANISM": "PLAIN",
          "KAFKA_SASL_PASSWORD": "{password}", "SALES_TOPIC": "sales-misspelt"},
         "Kafka has no topic 'sales-misspelt'"),
    ],
)  # fmt: skip
def test_what_a_broker_lacks_is_one_line(
    encrypted: Encrypted, stack: Stack, command: str, changes: dict[str, str], message: str
) -> None:
    values = {
        "other": encrypted.other_authority.certificate,
        "folder": encrypted.folder,
        "der": encrypted.authority.der_file(),
        "plain": stack.kafka.bootstrap_servers,
        "password": encrypted.kafka.access_password,
    }
    began = time.monotonic()
    changed = {name: value.format(**values) for name, value in changes.items()}
    _refused(encrypted.invoke(command, **changed), message)
    assert time.monotonic() - began < 30


def test_a_producer_that_may_not_write_is_refused(encrypted: Encrypted) -> None:
    _refused(encrypted.invoke("produce", KAFKA_SASL_USERNAME="stream"), "refuses access")


def test_a_stream_that_may_not_read_ends_with_one_line(
    encrypted: Encrypted, stack: Stack, tmp_path: Path
) -> None:
    assert encrypted.invoke("produce").exit_code == 0
    # Of a stream that has stored nothing yet, only Spark reads.
    with copied_database(stack) as database:
        url = stack.database_urls(database)["STREAM_DATABASE_URL"]
        ended = subprocess.run(
            [sys.executable, "-m", "streaming_job", "run"],
            env=encrypted.environment(
                stack, tmp_path, KAFKA_SASL_USERNAME="sender", STREAM_DATABASE_URL=url
            ),
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
    assert ended.returncode == 3, ended.stderr
    assert f"Not authorized to access topics: [{TOPIC}]" in ended.stderr.splitlines()[-1]
    assert PASSWORD not in ended.stderr


@pytest.mark.parametrize("command", NEEDS_DATABASE)
@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"sslrootcert": "{other}"}, "certificate verify failed"),
        ({"sslrootcert": "{folder}/none.pem"}, "root certificate file"),
        ({"sslrootcert": "{der}"}, "root certificate file"),
        ({"sslmode": "disable"}, "set sslmode=verify-full and sslrootcert"),
    ],
)
def test_what_does_not_fit_postgresqls_tls_is_one_line(
    encrypted: Encrypted, command: str, parameters: dict[str, str], message: str
) -> None:
    values = {
        "other": encrypted.other_authority.certificate,
        "folder": encrypted.folder,
        "der": encrypted.authority.der_file(),
    }
    changed = {name: value.format(**values) for name, value in parameters.items()}
    url = encrypted.url("STREAM_DATABASE_URL", **changed)
    _refused(encrypted.invoke(command, STREAM_DATABASE_URL=url), message)


def test_the_variables_of_postgresqls_clients_count_too(encrypted: Encrypted) -> None:
    """As compose.tls.yml sets them beside addresses that say nothing of TLS."""
    plain = encrypted.postgres.url(encrypted.urls["STREAM_DATABASE_URL"])
    other = str(encrypted.other_authority.certificate)

    def audit(authority: str) -> Result:
        return encrypted.invoke(
            "audit",
            STREAM_DATABASE_URL=plain,
            PGSSLMODE="verify-full",
            PGSSLROOTCERT=authority,
        )

    _refused(audit(other), "certificate verify failed")
    assert "certificate" not in audit(str(encrypted.authority.certificate)).output


@pytest.mark.parametrize("command", NEEDS_DATABASE)
def test_what_a_postgresql_lacks_is_one_line(
    encrypted: Encrypted, stack: Stack, command: str
) -> None:
    def refused(url: str, message: str) -> None:
        _refused(encrypted.invoke(command, STREAM_DATABASE_URL=url), message)

    url = encrypted.urls["STREAM_DATABASE_URL"]
    refused(url + "?sslmode=require", "does not support SSL")
    refused(url.replace("sales_stream:", "sales_stream:x"), "set user and password")
    refused(url + "_no", "create it, or set STREAM_DATABASE_URL to the right name")
    other_name = encrypted.authority.issue("postgres.example")
    with postgres_port(url, other_name) as port:
        refused(
            port.url(url, sslmode="verify-full", sslrootcert=encrypted.authority.certificate),
            "does not match host name",
        )
    with postgres_port(url, encrypted.authority.issue(), version=b"14.9") as port:
        refused(port.url(url, sslmode="require"), "PostgreSQL 14 of STREAM_DATABASE_URL is too old")
    reader = encrypted.urls["READER_DATABASE_URL"]
    if command == "run":
        refused(reader, "lacks a privilege")
    with copied_database(stack, "template0") as empty:
        refused(stack.database_urls(empty)["STREAM_DATABASE_URL"], "apply the migrations")
