"""The broker's settings."""

from pathlib import Path

from local_stack import kafka


def settings() -> dict[str, str]:
    lines = kafka.properties(1111, 2222, Path("/data")).splitlines()
    return dict(line.split("=", 1) for line in lines)


def test_everything_binds_to_loopback() -> None:
    listeners = settings()["listeners"].split(",")
    assert listeners == ["PLAINTEXT://127.0.0.1:1111", "CONTROLLER://127.0.0.1:2222"]
    assert settings()["advertised.listeners"] == "PLAINTEXT://127.0.0.1:1111"


def test_no_event_expires_and_no_topic_makes_itself() -> None:
    assert settings()["log.retention.hours"] == "-1"
    assert settings()["log.retention.bytes"] == "-1"
    assert settings()["auto.create.topics.enable"] == "false"


def test_cluster_ids_are_16_bytes_in_base64() -> None:
    ids = {kafka._cluster_id() for _ in range(50)}
    assert len(ids) == 50
    assert all(len(one) == 22 and not one.startswith("-") for one in ids)
