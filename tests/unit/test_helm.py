"""The chart renders what docker-compose.yml runs: the same settings, secrets, ports and limits.

Tests of what is rendered need Helm, which `make lint-helm` gets. Schemas are that target's.
"""

from __future__ import annotations

import json
import re
import subprocess
import tomllib
from collections.abc import Iterator
from typing import Any

import jsonschema
import pytest
import yaml

from forecast_service.database import PLANNER_CONNECTIONS
from local_stack import paths
from tests.support import helm
from tests.support.helm import CHART, EXAMPLES, NAMESPACE, RELEASE, Manifests

#: The sets of values that are rendered.
VALUES = ("minimal", "trial", "operators")
#: Components of both files. Their names are the same.
COMPONENTS = (
    *("migrations", "topics", "load", "stream", "mlflow", "code-server", "dagster-daemon"),
    *("dagster-webserver", "forecast-service", "exporter"),
)
#: What compose sets and the chart does not.
OF_COMPOSE = {
    # The chart has no Spark cluster: the schema refuses another master than local[…].
    *("SPARK_AUTHENTICATE_SECRET", "SPARK_MAX_CORES"),
    # Pods start no other pods: see docs/operations.md.
    "FORECAST_RUN_LAUNCHER",
    # A value of the chart decides what `load` reads.
    "SALES_FILES",
}
#: What the chart sets and compose does not: its broker is its own, and nobody asks for an address.
OF_THE_CHART = {"KAFKA_SASL_MECHANISM", "KAFKA_SSL_CA_FILE", "POD_IP"}
#: A place for a value in docker-compose.yml: its name, `:-` or `:?` (must be there), its default.
PLACE = re.compile(r"\$\{(\w+)(:-|:\?)([^}]*)\}")


@pytest.fixture(scope="module")
def composed() -> dict[str, Any]:
    services: dict[str, Any] = yaml.safe_load(
        (paths.REPOSITORY / "docker-compose.yml").read_text()
    )["services"]
    return services


@pytest.fixture(scope="module")
def trial() -> Manifests:
    """The chart with compose's own addresses."""
    return Manifests.rendered("trial")


@pytest.fixture(scope="module", params=VALUES)
def manifests(request: pytest.FixtureRequest) -> Manifests:
    return Manifests.rendered(request.param)


def _defaults() -> dict[str, Any]:
    defaults: dict[str, Any] = yaml.safe_load((CHART / "values.yaml").read_text())
    return defaults


def _schema() -> dict[str, Any]:
    schema: dict[str, Any] = json.loads((CHART / "values.schema.json").read_text())
    return schema


def _example(name: str) -> dict[str, Any]:
    """The values of an example on top of the defaults, as Helm merges them."""

    def merged(below: Any, above: Any) -> Any:
        if not (isinstance(below, dict) and isinstance(above, dict)):
            return above
        return {
            key: merged(below.get(key), above[key]) if key in above else below[key]
            for key in below.keys() | above.keys()
        }

    values: dict[str, Any] = merged(
        _defaults(), yaml.safe_load((EXAMPLES / f"values-{name}.yaml").read_text())
    )
    return values


# Without Helm


@pytest.mark.parametrize("name", VALUES)
def test_the_examples_satisfy_the_schema(name: str) -> None:
    jsonschema.validate(_example(name), _schema())


def test_the_schema_asks_for_what_has_no_default() -> None:
    errors = jsonschema.Draft7Validator(_schema()).iter_errors(_defaults())
    assert {error.json_path for error in errors} == {
        *("$.image.repository", "$.existingSecret", "$.calendar.start", "$.postgresql.address"),
        "$.kafka.bootstrapServers",
    }


def _objects(schema: Any, path: str = "$") -> Iterator[tuple[str, dict[str, Any]]]:
    if isinstance(schema, dict):
        if schema.get("type") == "object":
            yield path, schema
        for key, value in schema.items():
            yield from _objects(value, f"{path}.{key}")
    elif isinstance(schema, list):
        for value in schema:
            yield from _objects(value, path)


def test_the_schema_refuses_what_it_does_not_know() -> None:
    """Only labels and expressions of selectors, which are Kubernetes' own, have any keys."""
    lax = {
        path for path, one in _objects(_schema()) if one.get("additionalProperties") is not False
    }
    assert lax == {
        "$.definitions.labels",
        "$.definitions.selector.properties.matchExpressions.items",
    }


@pytest.mark.parametrize(
    ("path", "value"),
    [
        # Another misspelling in each room, and what would break something later.
        (("setings",), {}),
        (("settings", "FORECAST_HORIZONT"), "42"),
        (("settings", "FORECAST_HORIZON"), 42),
        (("image", "tag"), "latest"),
        (("stream", "replicas"), 2),
        (("stream", "sparkMaster"), "spark://spark-master:7077"),
        (("kafka", "securityProtocol"), "PLAINTEXT"),
        (("postgresql", "address"), "postgres"),
        (("dagster", "logs", "accessModes"), ["ReadWriteMany"]),
    ],
)
def test_the_schema_refuses(path: tuple[str, ...], value: Any) -> None:
    values = _example("minimal")
    room = values
    for key in path[:-1]:
        room = room[key]
    room[path[-1]] = value
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(values, _schema())


def test_every_optional_setting_of_the_containers_is_a_value(composed: dict[str, Any]) -> None:
    optional = {
        name
        for component in COMPONENTS
        for name, value in composed[component]["environment"].items()
        if value == f"${{{name}:-}}"
    }
    # The calendar has values of its own, and the webhook's address is a secret.
    apart = OF_COMPOSE | {"SALES_CALENDAR_END", "FORECAST_ALERT_WEBHOOK"}
    settings = _defaults()["settings"]
    assert settings.keys() == optional - apart
    assert set(settings.values()) == {""}
    documented = (paths.REPOSITORY / ".env.example").read_text()
    assert all(re.search(rf"^{name}=", documented, re.MULTILINE) for name in settings)


def test_the_alerts_are_the_containers_own_file() -> None:
    """A link, which Helm follows: `.Files` reads nothing outside of the chart."""
    alerts = CHART / "files" / "alerts.yml"
    assert alerts.is_symlink()
    assert alerts.resolve() == paths.REPOSITORY / "deploy" / "monitoring" / "alerts.yml"


def test_the_chart_has_the_projects_version() -> None:
    project = tomllib.loads((paths.REPOSITORY / "pyproject.toml").read_text())["project"]
    assert yaml.safe_load((CHART / "Chart.yaml").read_text())["appVersion"] == project["version"]


def test_the_roles_job_makes_the_roles_of_the_containers() -> None:
    (container,) = yaml.safe_load((EXAMPLES / "roles.yaml").read_text())["spec"]["template"][
        "spec"
    ]["containers"]
    variables = {variable["name"] for variable in container["env"]}
    listed = (paths.REPOSITORY / "deploy" / "postgres" / "roles.txt").read_text()
    roles = re.findall(r"^role\s+(\w+)", listed, re.MULTILINE)
    assert {name for name in variables if name.endswith("_PASSWORD")} == {
        f"{role.upper()}_PASSWORD" for role in roles
    }
    # roles.sh would look for them in the folder of the official image.
    assert variables >= {"ROLES_FILE", "CLOSE_FILE", "SCRIPTS_FOLDER"}


def test_the_services_connections_fit_their_role() -> None:
    """The template counts with 20 to read with; each replica has some to write with."""
    listed = (paths.REPOSITORY / "deploy" / "postgres" / "roles.txt").read_text()
    limits = dict(re.findall(r"^role\s+(\w+)\s+(\d+)", listed, re.MULTILINE))
    assert limits["sales_reader"] == "20"
    replicas = max(_example(name)["service"]["replicas"] for name in VALUES)
    assert replicas * PLANNER_CONNECTIONS <= int(limits["sales_planner"])


# With Helm


@pytest.mark.parametrize("name", VALUES)
def test_the_chart_passes_lint(name: str) -> None:
    answer = helm.run("lint", "--strict", CHART, f"--values={EXAMPLES / f'values-{name}.yaml'}")
    assert answer.returncode == 0, answer.stdout + answer.stderr


def test_an_install_without_values_says_what_is_missing() -> None:
    answer = helm.run("template", RELEASE, CHART)
    assert answer.returncode != 0
    for needed in ("repository", "existingSecret", "start", "address", "bootstrapServers"):
        assert needed in answer.stderr


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--set=service.replicas=3"], "24 connections"),
        (["--set=load.from=claim"], "load.claim names the claim"),
        (["--set=existingsecret=typo"], "existingsecret"),
    ],
)
def test_helm_refuses(options: list[str], message: str) -> None:
    answer = helm.template("minimal", *options)
    assert answer.returncode != 0
    assert message in answer.stderr


def test_helm_refuses_a_name_that_services_cannot_have() -> None:
    answer = helm.template("minimal", release="s" * 46)
    assert answer.returncode != 0
    assert "45 characters" in answer.stderr


#: Services of docker-compose.yml that others bring to a cluster, or that are not in the chart.
ELSEWHERE = {
    *("postgres", "kafka", "prometheus", "alertmanager", "grafana"),
    *("spark-master", "spark-worker"),
    # PostgreSQL's operator and the storage save what is theirs.
    *("backup", "restore"),
}


def test_the_components_are_those_of_the_containers(
    trial: Manifests, composed: dict[str, Any]
) -> None:
    assert set(trial.pods) == set(COMPONENTS) == composed.keys() - ELSEWHERE


def _expected(value: Any) -> str:
    """A variable's text in docker-compose.yml as the chart's has to be."""
    text = PLACE.sub(lambda place: f"$({place[1]})" if place[2] == ":?" else place[3], str(value))
    # Other parts have the release's name in front of theirs.
    return re.sub(r"http://(mlflow|dagster-webserver):", rf"http://{RELEASE}-\1:", text)


@pytest.mark.parametrize("component", COMPONENTS)
def test_a_component_has_the_variables_of_its_container(
    trial: Manifests, composed: dict[str, Any], component: str
) -> None:
    """With the same values, but for what comes from the Secret."""
    environment = trial.environment(component)
    wanted = composed[component]["environment"]
    passwords = {
        name
        for value in wanted.values()
        for name, kind, _ in PLACE.findall(str(value))
        if kind == ":?"
    }
    assert environment.keys() - OF_THE_CHART - passwords == wanted.keys() - OF_COMPOSE - passwords
    for name in wanted.keys() - OF_COMPOSE:
        if name == "SALES_CALENDAR_START":
            assert environment[name]["value"] == _example("trial")["calendar"]["start"]
        elif "value" in environment[name]:
            assert environment[name]["value"] == _expected(wanted[name]), name


@pytest.mark.parametrize("component", COMPONENTS)
def test_every_secret_comes_from_the_secret(
    manifests: Manifests, composed: dict[str, Any], component: str
) -> None:
    if component not in manifests.pods:
        return
    asked_for = {
        name
        for value in composed[component]["environment"].values()
        for name, kind, _ in PLACE.findall(str(value))
        if kind == ":?" or name == "FORECAST_ALERT_WEBHOOK"
    } - {"SALES_CALENDAR_START", *OF_COMPOSE}
    environment = manifests.environment(component)
    from_secret = {
        name: variable["valueFrom"]["secretKeyRef"]
        for name, variable in environment.items()
        if "secretKeyRef" in variable.get("valueFrom", {})
    }
    assert from_secret.keys() == asked_for
    for name, source in from_secret.items():
        assert (source["name"], source["key"]) == ("sales-forecasts", name)
        assert source.get("optional", False) == (name == "FORECAST_ALERT_WEBHOOK")
    # A variable that is part of another's text must come in front of it.
    names = list(environment)
    for name, variable in environment.items():
        for part in re.findall(r"\$\((\w+)\)", str(variable.get("value"))):
            assert names.index(part) < names.index(name)


def test_no_secret_is_anywhere_else(manifests: Manifests) -> None:
    assert not manifests.of_kind("Secret")
    for config in manifests.of_kind("ConfigMap").values():
        assert set(config["data"]) == {"workspace.yaml"}
    for component, pod in manifests.pods.items():
        assert "envFrom" not in str(pod)
        for name, variable in manifests.environment(component).items():
            if re.search(r"PASSWORD|TOKEN|SECRET|WEBHOOK$", name):
                assert "secretKeyRef" in variable["valueFrom"], (component, name)
            elif "postgresql://" in (text := str(variable.get("value"))):
                assert re.match(r"postgresql://\w+:\$\(\w+_PASSWORD\)@", text), text


def test_the_secrets_script_writes_every_key_that_must_be_there(manifests: Manifests) -> None:
    answer = subprocess.run(
        ["sh", str(EXAMPLES / "secret.sh"), "some-name"], capture_output=True, text=True, check=True
    )
    secret = yaml.safe_load(answer.stdout)
    assert secret["metadata"]["name"] == "some-name"
    asked_for = {
        variable["valueFrom"]["secretKeyRef"]["key"]
        for component in manifests.pods
        for variable in manifests.environment(component).values()
        if "secretKeyRef" in variable.get("valueFrom", {})
        and not variable["valueFrom"]["secretKeyRef"].get("optional")
    }
    values = secret["stringData"]
    assert values.keys() >= asked_for
    assert len(set(values.values())) == len(values)
    assert all(re.fullmatch(r"[\w-]{32}", value) for value in values.values())


#: What a container and a pod say differently: names of hosts, folders of the workspace, replicas.
DIFFERENT = ("--allowed-host=", "--workspace=", "--replicas=")


@pytest.mark.parametrize("component", sorted(set(COMPONENTS) - {"load", "code-server"}))
def test_a_component_runs_the_command_of_its_container(
    trial: Manifests, composed: dict[str, Any], component: str
) -> None:
    def alike(command: list[str]) -> list[str]:
        return [_expected(word) for word in command if not word.startswith(DIFFERENT)]

    assert alike(trial.container(component)["command"]) == alike(composed[component]["command"])


def test_the_code_server_serves_the_same_code_on_a_port(
    trial: Manifests, composed: dict[str, Any]
) -> None:
    command = trial.container("code-server")["command"]
    of_compose = composed["code-server"]["command"][-1].split("exec ")[1].split()
    assert [word for word in of_compose if not word.startswith("--socket=")] == [
        word for word in command if word not in ("--host=0.0.0.0", "--port=4000")
    ]
    workspace = yaml.safe_load(trial.of_kind("ConfigMap")["workspace"]["data"]["workspace.yaml"])
    ((entry,),) = [one.values() for one in workspace["load_from"]]
    containers = (paths.REPOSITORY / "deploy" / "docker" / "workspace.yaml").read_text()
    ((of_containers,),) = [one.values() for one in yaml.safe_load(containers)["load_from"]]
    assert entry == {
        "host": f"{RELEASE}-code-server",
        "port": 4000,
        "location_name": of_containers["location_name"],
    }


def _port(container: dict[str, Any]) -> int | None:
    """The port that a container's command or settings open."""
    words = [*container["command"], *(str(one.get("value")) for one in container["env"])]
    settings = {one["name"]: one.get("value") for one in container["env"]}
    found = re.search(r"--port=(\d+)", " ".join(words))
    port = found[1] if found else settings.get("STREAM_METRICS_PORT")
    return int(port) if port else None


def test_every_open_port_has_a_service_and_no_other(
    manifests: Manifests, composed: dict[str, Any]
) -> None:
    services = manifests.of_kind("Service")
    for component in manifests.pods:
        container = manifests.container(component)
        port = _port(container)
        assert (port is not None) == (component in services), component
        if port is None:
            assert "ports" not in container
            continue
        ((declared,), (served,)) = container["ports"], services[component]["spec"]["ports"]
        assert declared["containerPort"] == served["port"] == port
        assert served["targetPort"] == declared["name"]
        assert services[component]["spec"].get("type", "ClusterIP") == "ClusterIP"
        for published in composed[component].get("ports", ()):
            assert published.endswith(f":{port}")


def test_servers_know_the_names_under_which_they_are_asked(manifests: Manifests) -> None:
    for component in ("mlflow", "dagster-webserver", "exporter"):
        command = manifests.container(component)["command"]
        port = _port(manifests.container(component))
        assert f"--allowed-host={RELEASE}-{component}:{port}" in command
    # Prometheus asks pods by their address.
    assert "--allowed-host=$(POD_IP):9880" in manifests.container("exporter")["command"]


def test_memory_is_bounded_as_in_the_containers(trial: Manifests, composed: dict[str, Any]) -> None:
    units = {"m": 1, "g": 1024, "Mi": 1, "Gi": 1024}

    def megabytes(size: str) -> int:
        number, unit = re.fullmatch(r"(\d+)(\D+)", size).groups()  # type: ignore[union-attr]
        return int(number) * units[unit]

    for component in COMPONENTS:
        limits = trial.container(component)["resources"]["limits"]
        assert megabytes(limits["memory"]) == megabytes(_expected(composed[component]["mem_limit"]))


def test_no_pod_has_more_than_it_needs(manifests: Manifests) -> None:
    for component, pod in manifests.pods.items():
        spec = pod["spec"]
        assert spec["automountServiceAccountToken"] is False, component
        assert spec["enableServiceLinks"] is False, component
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["runAsUser"] == 10001
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for key in ("hostNetwork", "hostPID", "hostIPC", "serviceAccountName"):
            assert key not in spec
        for container in (*spec["containers"], *spec.get("initContainers", ())):
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            assert container["resources"].keys() == {"requests", "limits"}
        for volume in spec["volumes"]:
            assert "hostPath" not in volume


def test_orphans_are_reaped_as_in_the_containers(
    manifests: Manifests, composed: dict[str, Any]
) -> None:
    for component, pod in manifests.pods.items():
        assert composed[component]["init"] is True, component
        assert pod["spec"]["shareProcessNamespace"] is True, component


def test_a_trial_fits_on_a_node_of_two_cores(trial: Manifests) -> None:
    def cores(component: str) -> float:
        asked = str(trial.container(component)["resources"]["requests"]["cpu"])
        return float(asked.removesuffix("m")) / (1000 if asked.endswith("m") else 1)

    deployments = trial.of_kind("Deployment")
    standing = sum(cores(name) * one["spec"]["replicas"] for name, one in deployments.items())
    # On a node that is alone, Kubernetes itself asks for 0.75.
    assert standing + max(map(cores, trial.of_kind("Job"))) <= 1.25


def test_the_code_outlives_minutes_without_a_heartbeat(trial: Manifests) -> None:
    (ttl,) = [
        word.removeprefix("--heartbeat-ttl=")
        for word in trial.container("code-server")["command"]
        if word.startswith("--heartbeat-ttl=")
    ]
    assert int(ttl) >= 3600


def test_probes_start_no_process(manifests: Manifests, composed: dict[str, Any]) -> None:
    for component in manifests.pods:
        container = manifests.container(component)
        probes = {key: value for key, value in container.items() if key.endswith("Probe")}
        if "healthcheck" in composed[component]:
            assert len(probes) == 3, component
        for probe in probes.values():
            assert "exec" not in probe
            (name,) = {one["port"] for key, one in probe.items() if key in ("tcpSocket", "httpGet")}
            assert name == container["ports"][0]["name"]


def test_what_must_be_alone_is_replaced_and_never_doubled(manifests: Manifests) -> None:
    for component, deployment in manifests.of_kind("Deployment").items():
        if component == "forecast-service":
            assert deployment["spec"]["strategy"]["rollingUpdate"]["maxSurge"] == 0
            continue
        assert deployment["spec"]["replicas"] == 1, component
        assert deployment["spec"]["strategy"] == {"type": "Recreate"}, component


def test_claims_are_of_one_node_and_their_pods_on_it(manifests: Manifests) -> None:
    claims = manifests.of_kind("PersistentVolumeClaim")
    assert claims.keys() == {"checkpoints", "dagster", "mlflow"}
    users: dict[str, set[str]] = {}
    for component, pod in manifests.pods.items():
        for volume in pod["spec"]["volumes"]:
            if claim := volume.get("persistentVolumeClaim"):
                users.setdefault(claim["claimName"], set()).add(component)
    for name, claim in claims.items():
        assert claim["spec"]["accessModes"] == ["ReadWriteOnce"]
        together = users.pop(f"{RELEASE}-{name}")
        if len(together) > 1:
            rules = [
                rule
                for one in together
                for rule in manifests.pods[one]["spec"]["affinity"]["podAffinity"][
                    "requiredDuringSchedulingIgnoredDuringExecution"
                ]
            ]
            assert all(rule == rules[0] for rule in rules)
            assert rules[0]["topologyKey"] == "kubernetes.io/hostname"
            # A pod that does not match its own rule would never be the first.
            for one in together:
                labels = manifests.pods[one]["metadata"]["labels"]
                assert rules[0]["labelSelector"]["matchLabels"].items() <= labels.items()
    # Files to load lie on a claim that the chart does not make.
    assert users in ({}, {"kaggle-files": {"load"}})


def test_every_selector_finds_its_pods_and_no_others(manifests: Manifests) -> None:
    for kind in ("Service", "Deployment", "NetworkPolicy", "PodDisruptionBudget"):
        for name, resource in manifests.of_kind(kind).items():
            spec = resource["spec"]
            selector = spec["podSelector"] if "podSelector" in spec else spec["selector"]
            labels = selector.get("matchLabels", selector)
            matches = {
                component
                for component, pod in manifests.pods.items()
                if labels.items() <= pod["metadata"]["labels"].items()
            }
            if name == "nothing":
                assert matches == set(manifests.pods)
            else:
                # The policies of hooks that these values leave out find nothing.
                assert matches == {name} & set(manifests.pods), (kind, name)


#: Who opens connections to which parts, and to what outside (a port of each).
ARROWS: dict[str, set[str]] = {
    "migrations": {"postgresql"},
    "topics": {"kafka"},
    "load": {"postgresql"},
    "stream": {"postgresql", "kafka"},
    "mlflow": {"postgresql"},
    "code-server": {"postgresql", "webhook"},
    "dagster-daemon": {"postgresql", "kafka", "code-server", "mlflow"},
    "dagster-webserver": {"postgresql", "code-server"},
    "forecast-service": {"postgresql", "kafka", "dagster-webserver", "mlflow"},
    "exporter": {"postgresql"},
}
#: Ports outside in values-operators.yaml.
OUTSIDE = {5432: "postgresql", 9093: "kafka", 443: "webhook", 53: "dns"}


def _component(peer: dict[str, Any]) -> str | None:
    """The part of the chart that a peer of a policy is."""
    labels = peer.get("podSelector", {}).get("matchLabels", {})
    part: str | None = labels.get("app.kubernetes.io/component")
    return part


def test_policies_allow_the_arrows_that_exist_and_no_others() -> None:
    policies = Manifests.rendered("operators").of_kind("NetworkPolicy")
    nothing = policies.pop("nothing")["spec"]
    assert nothing["policyTypes"] == ["Ingress", "Egress"]
    assert nothing.keys() == {"podSelector", "policyTypes"}
    leaving: dict[str, set[str]] = {}
    arriving: dict[str, set[str]] = {name: set() for name in policies}
    for name, policy in policies.items():
        assert policy["spec"]["policyTypes"] == ["Ingress", "Egress"]
        for rule in policy["spec"]["egress"]:
            assert rule["to"], name
            parts = {_component(peer) for peer in rule["to"]} - {None}
            ports = {OUTSIDE.get(port["port"]) for port in rule["ports"]} - {None}
            leaving.setdefault(name, set()).update(part or "" for part in parts or ports)
        for rule in policy["spec"]["ingress"]:
            for peer in rule["from"]:
                if (part := _component(peer)) is not None:
                    arriving[part].add(name)
    assert leaving == {name: {*targets, "dns"} for name, targets in ARROWS.items()}
    # Who may leave for a part is let in there.
    assert arriving == {name: targets & policies.keys() for name, targets in ARROWS.items()}


def test_policies_let_in_from_outside_only_whom_values_name() -> None:
    def strangers(values: str) -> set[str]:
        policies = Manifests.rendered(values).of_kind("NetworkPolicy")
        return {
            name
            for name, policy in policies.items()
            for rule in policy["spec"].get("ingress", ())
            if not rule.get("from") or any(_component(peer) is None for peer in rule["from"])
        }

    assert strangers("minimal") == set()
    assert strangers("operators") == {
        *("mlflow", "dagster-webserver", "forecast-service", "stream", "exporter")
    }


def test_hooks_run_in_their_order_and_sample_sales_are_made_up_once(trial: Manifests) -> None:
    jobs = trial.of_kind("Job")
    order = sorted(
        jobs, key=lambda name: int(jobs[name]["metadata"]["annotations"]["helm.sh/hook-weight"])
    )
    assert order == ["migrations", "topics", "load"]

    def events(name: str, of: Manifests) -> str:
        hook: str = of.of_kind("Job")[name]["metadata"]["annotations"]["helm.sh/hook"]
        return hook

    assert events("migrations", trial) == "pre-install,pre-upgrade"
    assert events("load", trial) == "pre-install"
    assert events("load", Manifests.rendered("operators")) == "pre-install,pre-upgrade"


def test_certificates_lie_where_settings_look_for_them() -> None:
    manifests = Manifests.rendered("operators")
    for component, pod in manifests.pods.items():
        container = manifests.container(component)
        (folder,) = [
            mount["mountPath"]
            for mount in container["volumeMounts"]
            if mount["name"] == "authorities"
        ]
        (volume,) = [one for one in pod["spec"]["volumes"] if one["name"] == "authorities"]
        there = {
            f"{folder}/{item['path']}": source["secret"]["name"]
            for source in volume["projected"]["sources"]
            for item in source["secret"]["items"]
        }
        for variable in container["env"]:
            text = str(variable.get("value"))
            if variable["name"] == "KAFKA_SSL_CA_FILE":
                assert there[text] == "sales-kafka-cluster-ca-cert"
            if "sslrootcert=" in text:
                assert there[text.partition("sslrootcert=")[2]] == "sales-db-ca"


def test_the_alerts_are_the_containers_but_for_whose_targets_are_down() -> None:
    manifests = Manifests.rendered("operators")
    (rules,) = manifests.of_kind("PrometheusRule").values()
    assert rules["metadata"]["labels"]["release"] == "prometheus"
    expected = yaml.safe_load((paths.REPOSITORY / "deploy/monitoring/alerts.yml").read_text())
    changed = [
        rule for group in expected["groups"] for rule in group["rules"] if rule["expr"] == "up == 0"
    ]
    (down,) = changed
    down["expr"] = f'up{{namespace="{NAMESPACE}",job=~"exporter|service|stream"}} == 0'
    assert rules["spec"] == expected


def test_prometheus_scrapes_what_it_scrapes_in_the_containers() -> None:
    manifests = Manifests.rendered("operators")
    monitors = manifests.of_kind("ServiceMonitor")
    jobs = {}
    for component, monitor in monitors.items():
        (endpoint,) = monitor["spec"]["endpoints"]
        (served,) = manifests.of_kind("Service")[component]["spec"]["ports"]
        assert endpoint["port"] == served["name"]
        assert (endpoint["interval"], endpoint["scrapeTimeout"]) == ("15s", "10s")
        assert endpoint["authorization"]["credentials"] == {
            "name": "sales-forecasts",
            "key": "METRICS_TOKEN",
        }
        assert "METRICS_TOKEN" in manifests.environment(component)
        (relabeling,) = endpoint["relabelings"]
        jobs[relabeling["replacement"]] = f"{component}:{served['port']}"
        labels = monitor["spec"]["selector"]["matchLabels"].items()
        assert labels <= manifests.of_kind("Service")[component]["metadata"]["labels"].items()
    scrapes = yaml.safe_load((paths.REPOSITORY / "deploy/monitoring/prometheus.yml").read_text())
    assert jobs == {
        scrape["job_name"]: scrape["static_configs"][0]["targets"][0]
        for scrape in scrapes["scrape_configs"]
        if "authorization" in scrape
    }
    without = Manifests.rendered("minimal")
    assert not without.of_kind("ServiceMonitor") | without.of_kind("PrometheusRule")
