"""How clients prove to the broker who they are."""

from pathlib import Path

import pytest

from streaming_job.broker_access import BrokerAccess, broker_access, login
from streaming_job.errors import SettingsError
from streaming_job.settings import DOTENV_FILES

NAMES = ("SECURITY_PROTOCOL", "SASL_MECHANISM", "SASL_USERNAME", "SASL_PASSWORD", "SSL_CA_FILE")
WITH_ALL = {
    "KAFKA_SECURITY_PROTOCOL": "SASL_SSL",
    "KAFKA_SASL_MECHANISM": "SCRAM-SHA-512",
    "KAFKA_SASL_USERNAME": "sales",
    "KAFKA_SASL_PASSWORD": 'p"a\\s;s',
    "KAFKA_SSL_CA_FILE": "/etc/authority.pem",
}


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    monkeypatch.chdir(tmp_path)
    for name in NAMES:
        monkeypatch.delenv(f"KAFKA_{name}", raising=False)
    return monkeypatch


def test_by_default_the_broker_asks_for_nothing() -> None:
    access = broker_access()
    assert access.client_options() == {"security_protocol": "PLAINTEXT"}
    assert access.java_options("kafka.") == {"kafka.security.protocol": "PLAINTEXT"}


def test_python_and_java_get_the_same_access(environment: pytest.MonkeyPatch) -> None:
    for name, value in WITH_ALL.items():
        environment.setenv(name, value)
    access = broker_access()
    assert access.client_options() == {
        "security_protocol": "SASL_SSL",
        "sasl_mechanism": "SCRAM-SHA-512",
        "sasl_plain_username": "sales",
        "sasl_plain_password": 'p"a\\s;s',
        "ssl_cafile": "/etc/authority.pem",
    }
    assert access.java_options("kafka.") == {
        "kafka.security.protocol": "SASL_SSL",
        "kafka.sasl.mechanism": "SCRAM-SHA-512",
        "kafka.sasl.jaas.config": "org.apache.kafka.common.security.scram.ScramLoginModule "
        'required username="sales" password="p\\"a\\\\s;s";',
        "kafka.ssl.truststore.type": "PEM",
        "kafka.ssl.truststore.location": "/etc/authority.pem",
    }
    assert access.environment() == WITH_ALL


def test_dotenv_is_read(environment: pytest.MonkeyPatch, tmp_path: Path) -> None:
    environment.setitem(BrokerAccess.model_config, "env_file", DOTENV_FILES)
    lines = [f"{name}='{value}'" for name, value in WITH_ALL.items() if "PASSWORD" not in name]
    (tmp_path / ".env").write_text("\n".join([*lines, "KAFKA_SASL_PASSWORD=from-file"]))
    assert broker_access().client_options()["sasl_plain_password"] == "from-file"


@pytest.mark.parametrize("missing", ["KAFKA_SASL_USERNAME", "KAFKA_SASL_PASSWORD"])
def test_a_missing_setting_is_named_without_the_secret(
    environment: pytest.MonkeyPatch, missing: str
) -> None:
    for name, value in WITH_ALL.items():
        if name != missing:
            environment.setenv(name, value)
    with pytest.raises(SettingsError, match=missing) as refused:
        broker_access()
    assert 'p"a' not in str(refused.value)


def test_a_wrong_setting_is_named(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("KAFKA_SECURITY_PROTOCOL", "TLS")
    with pytest.raises(SettingsError, match=r"KAFKA_SECURITY_PROTOCOL: .*'SASL_SSL'"):
        broker_access()


def test_no_password_in_what_is_printed(environment: pytest.MonkeyPatch) -> None:
    for name, value in WITH_ALL.items():
        environment.setenv(name, value)
    assert 'p"a' not in f"{broker_access()} {broker_access()!r}"


def test_a_login_names_every_user() -> None:
    assert login("PLAIN", username="a", password="b", user_a="b").endswith(
        'PlainLoginModule required username="a" password="b" user_a="b";'
    )
    assert BrokerAccess(security_protocol="SSL").client_options() == {"security_protocol": "SSL"}


def test_the_systems_authorities_are_java_s_too(
    environment: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    bundle = tmp_path / "bundle.pem"
    bundle.touch()
    environment.setenv("SSL_CERT_FILE", str(bundle))
    assert BrokerAccess(security_protocol="SSL").java_options() == {
        "security.protocol": "SSL",
        "ssl.truststore.type": "PEM",
        "ssl.truststore.location": str(bundle),
    }
    assert BrokerAccess().java_options() == {"security.protocol": "PLAINTEXT"}
