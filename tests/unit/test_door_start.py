"""The door's start: what is missing or odd keeps it shut, and its secrets stay its own."""

import subprocess
from pathlib import Path

import pytest

from local_stack import paths

START = paths.REPOSITORY / "deploy" / "nginx" / "start.sh"
SECRETS = paths.REPOSITORY / "deploy" / "docker" / "secrets.sh"


@pytest.fixture
def variables(tmp_path: Path) -> dict[str, str]:
    """What the door needs, and an nginx that only shows how it was started."""
    nginx = tmp_path / "bin" / "nginx"
    nginx.parent.mkdir()
    nginx.write_text('#!/bin/sh\necho "arguments: $*"\nenv\n')
    nginx.chmod(0o755)
    for name in ("certificate.pem", "key.pem"):
        (tmp_path / name).write_text("x")
    return {
        "PATH": f"{nginx.parent}:/usr/bin:/bin",
        "DOOR_FOLDER": str(tmp_path / "door"),
        "DOOR_RESOLVER": "127.0.0.11",
        "DOOR_HOST": "forecasts.example.com",
        "DOOR_CERTIFICATE": str(tmp_path / "certificate.pem"),
        "DOOR_KEY": str(tmp_path / "key.pem"),
        "DAGSTER_WEBSERVER_TOKEN": "secret-of-dagster",
        "MLFLOW_TRACKING_TOKEN": "secret-of-mlflow",
        "GRAFANA_ADMIN_PASSWORD": "a $(touch x) & \\1 ; } \" 'password",
    }


def start(
    variables: dict[str, str], *before: str, **changes: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*before, "sh", str(START)],
        env=variables | changes,
        capture_output=True,
        text=True,
        check=False,
    )


def filled_in(variables: dict[str, str]) -> str:
    return (Path(variables["DOOR_FOLDER"]) / "door.conf").read_text()


def test_only_its_user_reads_what_is_filled_in(variables: dict[str, str]) -> None:
    answer = start(variables)
    assert answer.returncode == 0, answer.stderr
    folder = Path(variables["DOOR_FOLDER"])
    assert folder.stat().st_mode & 0o077 == 0
    for name in ("door.conf", "from_door.conf", "operators_only.conf"):
        assert (folder / name).stat().st_mode & 0o077 == 0
    text = filled_in(variables)
    assert "Bearer secret-of-dagster" in text
    assert "Bearer secret-of-mlflow" in text
    assert '"max-age=31536000"' in text
    assert "@DOOR" not in text
    # nginx itself is told none of them, neither by arguments nor by its environment.
    assert f"-c {folder}/door.conf" in answer.stdout
    assert "secret-of" not in answer.stdout
    assert "touch" not in answer.stdout


@pytest.mark.parametrize(
    "name",
    [
        "DOOR_HOST",
        "DOOR_CERTIFICATE",
        "DOOR_KEY",
        "DAGSTER_WEBSERVER_TOKEN",
        "MLFLOW_TRACKING_TOKEN",
    ],
)
@pytest.mark.parametrize("value", ["", "a b", "a;return 200", 'a"', "a\nb", "$host", "{}"])
def test_what_is_missing_or_odd_keeps_it_shut(
    variables: dict[str, str], name: str, value: str
) -> None:
    answer = start(variables, **{name: value})
    assert answer.returncode == 1
    assert answer.stderr.startswith(f"The door stays shut: {name} ")
    assert "arguments" not in answer.stdout
    assert not Path(variables["DOOR_FOLDER"]).exists()


def test_an_address_is_no_name(variables: dict[str, str]) -> None:
    answer = start(variables, DOOR_HOST="https://forecasts.example.com")
    assert (answer.returncode, "leave out https://" in answer.stderr) == (1, True)


def test_a_key_that_it_cannot_read_is_named(variables: dict[str, str], tmp_path: Path) -> None:
    answer = start(variables, DOOR_KEY=str(tmp_path / "missing.pem"))
    assert (answer.returncode, "missing.pem is missing" in answer.stderr) == (1, True)


@pytest.mark.parametrize("host", ["localhost:8443", "127.0.0.1:8443", "a.localhost"])
def test_a_trial_on_this_machine_asks_no_other_port_for_tls(
    variables: dict[str, str], host: str
) -> None:
    start(variables, DOOR_HOST=host)
    assert 'Strict-Transport-Security ""' in filled_in(variables)


def test_without_grafanas_password_there_is_no_grafana(variables: dict[str, str]) -> None:
    start(variables, GRAFANA_ADMIN_PASSWORD="")
    assert 'set $grafana_login "";' in filled_in(variables)


def test_its_secrets_may_come_from_files(variables: dict[str, str], tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("of-a-file\n")
    path.chmod(0o600)
    others = {name: value for name, value in variables.items() if name != "MLFLOW_TRACKING_TOKEN"}
    answer = start(others, "sh", str(SECRETS), MLFLOW_TRACKING_TOKEN_FILE=str(path))
    assert answer.returncode == 0, answer.stderr
    assert "Bearer of-a-file" in filled_in(variables)


def test_it_is_alone_in_the_folder_of_its_files() -> None:
    """Whatever lies in deploy/nginx is mounted by compose.door.yml, one by one."""
    mounted = (paths.REPOSITORY / "compose.door.yml").read_text()
    for name in (path.name for path in START.parent.iterdir()):
        assert f"./deploy/nginx/{name}:/etc/door/{name}:ro" in mounted
