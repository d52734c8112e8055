"""Secrets from files: a command gets the variable itself, and a wrong file ends the start."""

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from local_stack import paths

SCRIPT = paths.REPOSITORY / "deploy" / "docker" / "secrets.sh"
SHOW = 'printf "%s|%s|%s" "$METRICS_TOKEN" "${METRICS_TOKEN_FILE-gone}" "$KAFKA_SSL_CA_FILE"'


def run(*command: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["sh", str(SCRIPT), *command],
        env={"PATH": "/usr/bin:/bin", "KAFKA_SSL_CA_FILE": "/of/a/program.pem"} | variables,
        capture_output=True,
        text=True,
        check=False,
    )


def secret(folder: Path, content: str, mode: int = 0o640) -> str:
    path = folder / "a secret's file"
    path.write_text(content)
    path.chmod(mode)
    return str(path)


@pytest.mark.parametrize("value", ["plain", "a $(touch x) `y` \"z\" 'q' \\ & * ü", " blanks "])
def test_a_command_gets_what_is_in_the_file_as_it_is(tmp_path: Path, value: str) -> None:
    for content in (value, f"{value}\n"):
        answer = run("sh", "-c", SHOW, METRICS_TOKEN_FILE=secret(tmp_path, content))
        assert answer.stderr == ""
        assert answer.stdout == f"{value}|gone|/of/a/program.pem"


def test_the_command_takes_the_shells_place_with_its_arguments() -> None:
    answer = run("sh", "-c", 'printf "%s," "$@"; exit 7', "x", "a b", "", "*")
    assert (answer.returncode, answer.stdout) == (7, "a b,,*,")


def test_an_empty_variable_is_none(tmp_path: Path) -> None:
    path = secret(tmp_path, "inside")
    assert run("sh", "-c", SHOW, METRICS_TOKEN_FILE="", METRICS_TOKEN="own").stdout[:3] == "own"
    answer = run("sh", "-c", SHOW, METRICS_TOKEN_FILE=path, METRICS_TOKEN="")
    assert answer.stdout.startswith("inside|")


@pytest.mark.parametrize(
    ("content", "mode", "message"),
    [
        ("", 0o600, "is empty"),
        ("\n\n", 0o600, "is empty"),
        ("one\ntwo\n", 0o600, "more than one line"),
        ("seen by all", 0o644, "can be read by every user"),
        ("seen by all", 0o604, "can be read by every user"),
    ],
)
def test_a_wrong_file_ends_the_start(tmp_path: Path, content: str, mode: int, message: str) -> None:
    path = secret(tmp_path, content, mode)
    answer = run("touch", str(tmp_path / "started"), METRICS_TOKEN_FILE=path)
    assert answer.returncode == 1
    assert f"METRICS_TOKEN_FILE={path}" in answer.stderr
    assert message in answer.stderr
    assert not (tmp_path / "started").exists()
    assert not content or content not in answer.stderr


def test_a_missing_file_and_a_folder_end_the_start(tmp_path: Path) -> None:
    for path in (tmp_path / "missing", tmp_path):
        answer = run("true", METRICS_TOKEN_FILE=str(path))
        assert (answer.returncode, "is no file" in answer.stderr) == (1, True)


def test_both_at_once_end_the_start(tmp_path: Path) -> None:
    path = secret(tmp_path, "inside")
    answer = run("true", METRICS_TOKEN_FILE=path, METRICS_TOKEN="outside")
    assert (answer.returncode, "both set" in answer.stderr) == (1, True)
    assert "inside" not in answer.stderr
    assert "outside" not in answer.stderr


def _names(text: str) -> set[str]:
    """The variables of an environment file whose values are secret."""
    pattern = r"^(\w+(?:PASSWORD|TOKEN|SECRET|WEBHOOK|DATABASE_URL|POSTGRES_URL|STORE_URI))="
    return set(re.findall(pattern, text, re.MULTILINE))


def test_every_secret_of_the_system_can_come_from_a_file(tmp_path: Path) -> None:
    of_commands = _names((paths.REPOSITORY / ".env.example").read_text())
    composed: dict[str, Any] = yaml.safe_load(
        (paths.REPOSITORY / "docker-compose.yml").read_text()
    )["services"]
    of_containers = {
        name
        for service in composed.values()
        for name, value in service.get("environment", {}).items()
        if re.search(r"PASSWORD|TOKEN|SECRET|WEBHOOK", str(value)) and "JAAS" not in name
    }
    assert {"OWNER_DATABASE_URL", "FORECAST_ALERT_WEBHOOK", "METRICS_TOKEN"} <= of_commands
    assert {"DAGSTER_POSTGRES_URL", "MLFLOW_BACKEND_STORE_URI"} <= of_containers
    # Grafana's image has the convention itself, with two underscores.
    names = (of_commands | of_containers) - {"GF_SECURITY_ADMIN_PASSWORD__FILE"}
    path = secret(tmp_path, "of-a-file")
    answer = run("env", **{f"{name}_FILE": path for name in names})
    got = dict(line.split("=", 1) for line in answer.stdout.splitlines())
    assert {name: got.get(name) for name in names} == dict.fromkeys(names, "of-a-file")


def test_the_image_starts_every_command_by_it() -> None:
    recipe = (paths.REPOSITORY / "deploy" / "docker" / "Dockerfile").read_text()
    assert 'ENTRYPOINT ["sh", "/app/deploy/docker/secrets.sh"]' in recipe
    assert "deploy/docker/secrets.sh" in recipe.split("ENTRYPOINT")[0]
    composed = yaml.safe_load((paths.REPOSITORY / "docker-compose.yml").read_text())["services"]
    for name, service in composed.items():
        if service.get("image") == "forecast-assets":
            assert "entrypoint" not in service, name
