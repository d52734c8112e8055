"""The containers' doors ask for the same secrets as the embedded stack's."""

import re
from typing import Any

import pytest
import yaml
from pydantic_settings import BaseSettings

from forecast_assets.servers.options import MLFLOW_TOKEN_VARIABLE as MLFLOW_TOKEN
from forecast_assets.servers.options import UI_TOKEN_VARIABLE as UI_TOKEN
from forecast_assets.settings import Settings as AssetSettings
from forecast_service.settings import Settings
from local_stack import paths
from local_stack.dagster_processes import WEBSERVER_MODULE
from local_stack.mlflow_server import MODULE as MLFLOW_MODULE
from streaming_job.broker_access import BrokerAccess
from streaming_job.settings import StreamSettings

DOCKER = paths.REPOSITORY / "deploy" / "docker"


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    composed = yaml.safe_load((paths.REPOSITORY / "docker-compose.yml").read_text())
    services: dict[str, Any] = composed["services"]
    return services


@pytest.mark.parametrize(
    ("service", "module", "token"),
    [("dagster-webserver", WEBSERVER_MODULE, UI_TOKEN), ("mlflow", MLFLOW_MODULE, MLFLOW_TOKEN)],
)
def test_the_uis_are_behind_the_gate(
    services: dict[str, Any], service: str, module: str, token: str
) -> None:
    assert services[service]["command"][:3] == ["python", "-m", module]
    assert services[service]["environment"][token].startswith(f"${{{token}:?")


def test_only_what_asks_for_a_token_is_published_and_only_on_loopback(
    services: dict[str, Any],
) -> None:
    published = {name: service["ports"] for name, service in services.items() if "ports" in service}
    assert published == {
        "dagster-webserver": ["127.0.0.1:3000:3000"],
        "mlflow": ["127.0.0.1:5000:5000"],
        "forecast-service": ["127.0.0.1:8080:8080"],
        # It asks for its user's password.
        "grafana": ["127.0.0.1:${GRAFANA_PORT:-3001}:3000"],
    }


def test_nothing_else_listens_on_a_port_of_its_container(
    services: dict[str, Any],
) -> None:
    everywhere = "0.0.0.0"  # noqa: S104 - what is looked for
    listening = {
        name for name, service in services.items() if everywhere in str(service.get("command"))
    }
    # The exporter asks for Prometheus's token.
    assert listening == {"dagster-webserver", "mlflow", "forecast-service", "exporter"}


#: What the image, the command or the file itself decides, and no user does.
OF_THE_CONTAINERS = {
    *("JAVA_HOME", "SPARK_DEFAULTS_DIR"),
    # Only the standing stream serves metrics.
    *("STREAM_METRICS_PORT", "STREAM_METRICS_HOST", "METRICS_TOKEN"),
    *("SERVICE_HOST", "SERVICE_PORT", "SERVICE_CHARTS_JAR"),
    # The broker's only listener is the file's own.
    *("KAFKA_SASL_MECHANISM", "KAFKA_SSL_CA_FILE"),
    # For command lines on the host.
    "READER_DATABASE_URL",
}


@pytest.mark.parametrize(
    ("service", "settings"),
    [
        ("stream", [StreamSettings, BrokerAccess]),
        ("code-server", [AssetSettings, StreamSettings]),
        ("dagster-daemon", [AssetSettings, StreamSettings]),
        ("forecast-service", [Settings, BrokerAccess]),
    ],
)
def test_every_setting_reaches_the_containers_that_read_it(
    services: dict[str, Any], service: str, settings: list[type[BaseSettings]]
) -> None:
    missing = {
        field.alias or (one.model_config.get("env_prefix", "") + name).upper()
        for one in settings
        for name, field in one.model_fields.items()
    } - set(services[service]["environment"])
    assert missing <= OF_THE_CONTAINERS


def test_the_service_reaches_what_it_needs(services: dict[str, Any]) -> None:
    """It gets every address among its settings, and finds the servers under allowed names."""
    environment = services["forecast-service"]["environment"]
    addresses = {
        str(field.alias)
        for field in Settings.model_fields.values()
        if str(field.alias).endswith(("_URL", "_URI", "_TOKEN", "_SERVERS"))
    }
    assert addresses <= set(environment)
    for name, server in (
        ("DAGSTER_WEBSERVER_URL", "dagster-webserver"),
        ("MLFLOW_TRACKING_URI", "mlflow"),
    ):
        host = environment[name].removeprefix("http://")
        assert f"--allowed-host={host}" in services[server]["command"]


def test_all_containers_share_the_network_of_the_earlier_system() -> None:
    composed = yaml.safe_load((paths.REPOSITORY / "docker-compose.yml").read_text())
    assert composed["networks"] == {"default": {"name": "forecast_network"}}


def test_kafka_asks_for_the_password_that_its_clients_bring(services: dict[str, Any]) -> None:
    broker = services["kafka"]["environment"]
    protocols = dict(
        pair.split(":") for pair in broker["KAFKA_LISTENER_SECURITY_PROTOCOL_MAP"].split(",")
    )
    for listener in broker["KAFKA_LISTENERS"].split(","):
        name, host = listener.split("://")
        assert protocols[name] == "SASL_PLAINTEXT" or host.startswith("localhost:")
    assert "KAFKA_SASL_PASSWORD" in broker["KAFKA_LISTENER_NAME_CLIENTS_PLAIN_SASL_JAAS_CONFIG"]
    for service in ("stream", "code-server", "dagster-daemon"):
        client = services[service]["environment"]
        assert client["KAFKA_SECURITY_PROTOCOL"] == "SASL_PLAINTEXT"
        assert client["KAFKA_SASL_PASSWORD"].startswith("${KAFKA_SASL_PASSWORD:?")


def test_every_secret_of_the_containers_is_in_the_example_and_empty() -> None:
    composed = (paths.REPOSITORY / "docker-compose.yml").read_text()
    required = set(re.findall(r"\$\{(\w+(?:PASSWORD|TOKEN))\b", composed))
    example = dict(
        line.split("=", 1)
        for line in (DOCKER / ".env.example").read_text().splitlines()
        if line and not line.startswith("#")
    )
    assert {name: example.get(name) for name in required} == dict.fromkeys(required, "")
    assert len(required) == 13


def test_the_exporter_judges_as_the_checks_do(services: dict[str, Any]) -> None:
    """It gets the limits of the rules that the code server gets, with the same values."""
    limits = {
        field.alias
        for name, field in AssetSettings.model_fields.items()
        if name.startswith(("max_", "calendar_")) or name in JUDGED
    }
    of_the_checks = services["code-server"]["environment"]
    own = services["exporter"]["environment"]
    assert {name: own[name] for name in limits} == {name: of_the_checks[name] for name in limits}


#: Further settings that `limits_of` and `read_facts` look at.
JUDGED = {"stream_silence_minutes", "events_grace_hours", "unusual_factor"}


def test_prometheus_finds_every_target_and_brings_the_token(services: dict[str, Any]) -> None:
    folder = paths.REPOSITORY / "deploy" / "monitoring"
    scrapes = yaml.safe_load((folder / "prometheus.yml").read_text())["scrape_configs"]
    for scrape in scrapes:
        ((target,),) = [config["targets"] for config in scrape["static_configs"]]
        host, port = target.split(":")
        if scrape["job_name"] in ("exporter", "service", "stream"):
            assert scrape["authorization"] == {"credentials_file": "/run/secrets/metrics_token"}
            environment = services[host]["environment"]
            assert environment["METRICS_TOKEN"].startswith("${METRICS_TOKEN:?")
            listens = str(services[host]["command"]) + str(environment)
            assert f"--port={port}" in listens or f"'STREAM_METRICS_PORT': {port}" in listens
    assert "--allowed-host=exporter:9880" in services["exporter"]["command"]


def test_watching_is_optional_pinned_and_without_a_known_password() -> None:
    text = (paths.REPOSITORY / "docker-compose.yml").read_text()
    composed = yaml.safe_load(text)
    watchers = {n: s for n, s in composed["services"].items() if s.get("profiles")}
    assert set(watchers) == {"prometheus", "alertmanager", "grafana"}
    for service in watchers.values():
        assert service["profiles"] == ["monitoring"]
        assert re.fullmatch(r"[\w/]+:v?\d+\.\d+\.\d+", service["image"])
        # Optional secrets are not variables, which a start without the profile would ask for.
        assert not re.search(r"PASSWORD:\s|TOKEN:\s", yaml.safe_dump(service))
        for source, _, _ in (str(v).partition(":") for v in service["volumes"]):
            if source.startswith("./"):
                assert (paths.REPOSITORY / source).exists()
    used = {secret for service in watchers.values() for secret in service.get("secrets", ())}
    assert used == set(composed["secrets"])
