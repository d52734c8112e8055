"""The broker's settings."""

from pathlib import Path

from local_stack import kafka
from tests.support.authority import Authority


def settings() -> dict[str, str]:
    lines = kafka.properties(1111, 2222, Path("/data"), "pass-word").splitlines()
    return dict(line.split("=", 1) for line in lines)


def test_everything_binds_to_loopback() -> None:
    listeners = settings()["listeners"].split(",")
    assert listeners == ["CLIENTS://127.0.0.1:1111", "CONTROLLER://127.0.0.1:2222"]
    assert settings()["advertised.listeners"] == "CLIENTS://127.0.0.1:1111"


def test_every_listener_asks_for_the_password() -> None:
    protocols = dict(
        pair.split(":") for pair in settings()["listener.security.protocol.map"].split(",")
    )
    listeners = [listener.split(":")[0] for listener in settings()["listeners"].split(",")]
    assert {protocols[name] for name in listeners} == {"SASL_PLAINTEXT"}
    for name in listeners:
        login = settings()[f"listener.name.{name.lower()}.plain.sasl.jaas.config"]
        assert 'user_sales="pass-word"' in login


def test_no_event_expires_and_no_topic_makes_itself() -> None:
    assert settings()["log.retention.hours"] == "-1"
    assert settings()["log.retention.bytes"] == "-1"
    assert settings()["auto.create.topics.enable"] == "false"


def test_a_certificate_encrypts_the_port_for_clients(tmp_path: Path) -> None:
    tls = Authority(tmp_path).issue()
    written = kafka.properties(1, 2, Path("/data"), "pass-word", tls, {"num.partitions": 7})
    lines = dict(line.split("=", 1) for line in written.splitlines())
    protocols = lines["listener.security.protocol.map"]
    assert protocols == "CLIENTS:SASL_SSL,CONTROLLER:SASL_PLAINTEXT"
    chain = lines["listener.name.clients.ssl.keystore.certificate.chain"]
    assert chain.replace("\\u000a", "\n") == tls.certificate.read_text()
    assert lines["num.partitions"] == "7"


def test_a_folder_of_any_letters_is_written_as_java_reads_it() -> None:
    written = kafka.properties(1, 2, Path("/späte Größe/\\b😀"), "pass-word")
    expected = r"log.dirs=/sp\u00e4te Gr\u00f6\u00dfe/\\b\ud83d\ude00"
    assert expected in written.splitlines() and written.isascii()


def test_cluster_ids_are_16_bytes_in_base64() -> None:
    ids = {kafka._cluster_id() for _ in range(50)}
    assert len(ids) == 50
    assert all(len(one) == 22 and not one.startswith("-") for one in ids)
