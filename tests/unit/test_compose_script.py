"""`make compose-up` and its like, with a Docker that only notes what it is asked."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from local_stack import paths

SCRIPT = "deploy/docker/compose.sh"
ARGUMENTS = "--env-file deploy/docker/.env"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of what the script reads, in a folder with a blank in its name."""
    made = tmp_path / "a chain"
    (made / "deploy" / "docker").mkdir(parents=True)
    for name in (SCRIPT, "deploy/docker/.env.example", ".env.example"):
        shutil.copy(paths.REPOSITORY / name, made / name)
    docker = tmp_path / "bin" / "docker"
    docker.parent.mkdir()
    docker.write_text(
        f"#!/bin/sh\nprintf '%s\\n' \"$*\" >>'{tmp_path}/asked'\n"
        '[ -z "${SALES_TOPIC:-}" ] || echo "the shell\'s SALES_TOPIC came through"\n'
    )
    docker.chmod(0o755)
    return made


def run(folder: Path, word: str, **variables: str) -> subprocess.CompletedProcess[str]:
    path = f"{folder.parent / 'bin'}:{os.environ['PATH']}"
    return subprocess.run(
        ["sh", SCRIPT, word],
        cwd=folder,
        env={"PATH": path, "SALES_TOPIC": "another", "SALES_CALENDAR_END": "1999-01-01"}
        | variables,
        capture_output=True,
        text=True,
        check=False,
    )


def asked(folder: Path) -> list[str]:
    return (folder.parent / "asked").read_text().splitlines()


def settings(folder: Path) -> dict[str, str]:
    lines = (folder / "deploy" / "docker" / ".env").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def test_the_first_start_makes_passwords_that_only_its_user_reads(folder: Path) -> None:
    answer = run(folder, "up")
    assert answer.returncode == 0, answer.stderr
    file = folder / "deploy" / "docker" / ".env"
    assert file.stat().st_mode & 0o777 == 0o600
    made = settings(folder)
    secrets = [value for name, value in made.items() if re.search("PASSWORD|TOKEN|SECRET", name)]
    assert len(secrets) == len(set(secrets)) == 15
    assert all(re.fullmatch(r"[\w-]{32}", secret) for secret in secrets)
    assert made["SALES_FILES"] == made["SALES_CALENDAR_END"] == ""
    assert "came through" not in answer.stdout
    assert asked(folder)[0] == f"compose {ARGUMENTS} up --build --detach"
    # What is printed is how to get in; the database's passwords are not.
    assert made["DAGSTER_WEBSERVER_TOKEN"] in answer.stdout
    assert made["SALES_OWNER_PASSWORD"] not in answer.stdout + answer.stderr


def test_a_later_start_keeps_them(folder: Path) -> None:
    run(folder, "up")
    before = settings(folder)
    assert run(folder, "up").returncode == 0
    assert settings(folder) == before


def test_files_are_named_by_their_whole_path_and_never_mixed(folder: Path) -> None:
    files = folder / "sales"
    files.mkdir()
    answer = run(folder, "up", DATA="sales")
    assert answer.returncode == 0, answer.stderr
    assert settings(folder)["SALES_FILES"] == str(files)
    assert settings(folder)["SALES_CALENDAR_START"] == "2013-01-01"
    assert settings(folder)["SALES_CALENDAR_END"] == "2016-07-31"
    assert run(folder, "up").returncode == 0
    (folder / "other").mkdir()
    refused = run(folder, "up", DATA="other")
    assert refused.returncode == 1
    assert "compose-down DELETE=1" in refused.stderr
    assert "is not a folder" in run(folder, "up", DATA="missing").stderr


def test_a_door_gets_a_certificate_for_a_trial_and_stays(folder: Path) -> None:
    answer = run(folder, "up", DOOR="1")
    assert answer.returncode == 0, answer.stderr
    made = settings(folder)
    tls = folder / "deploy" / "docker" / "door"
    assert made["DOOR_CERTIFICATE"] == str(tls / "certificate.pem")
    assert made["DOOR_KEY"] == str(tls / "key.pem")
    # The container's user reads the key; nobody else of this machine gets there.
    assert (tls / "key.pem").stat().st_mode & 0o777 == 0o644
    assert tls.stat().st_mode & 0o777 == 0o700
    text = subprocess.run(
        ["openssl", "x509", "-in", tls / "certificate.pem", "-noout", "-ext", "subjectAltName"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert "DNS:localhost" in text
    assert "self-signed" in answer.stdout
    assert "https://localhost:8443" in answer.stdout
    assert made["DAGSTER_WEBSERVER_TOKEN"] not in answer.stdout
    # By hand and by every word, the settings' file says it.
    assert made["COMPOSE_FILE"] == "docker-compose.yml:compose.door.yml"
    assert asked(folder)[0] == f"compose {ARGUMENTS} up --build --detach"
    # It stays without being asked for, also when everything ends, and is not made twice.
    key = (tls / "key.pem").read_bytes()
    assert run(folder, "up").returncode == 0
    assert run(folder, "down").returncode == 0
    assert run(folder, "up", DOOR="1").returncode == 0
    assert ((tls / "key.pem").read_bytes(), settings(folder)) == (key, made)


def test_a_door_takes_a_certificate_that_the_settings_name_and_other_files_stay(
    folder: Path,
) -> None:
    run(folder, "up")
    file = folder / "deploy" / "docker" / ".env"
    with file.open("a") as opened:
        opened.write("DOOR_CERTIFICATE=/etc/sales/own.pem\nDOOR_KEY=/etc/sales/own.key\n")
        opened.write("COMPOSE_FILE=docker-compose.yml:compose.external.yml\n")
    answer = run(folder, "up", DOOR="1")
    assert answer.returncode == 0, answer.stderr
    made = settings(folder)
    assert made["DOOR_CERTIFICATE"] == "/etc/sales/own.pem"
    assert made["COMPOSE_FILE"] == "docker-compose.yml:compose.external.yml:compose.door.yml"
    assert not (folder / "deploy" / "docker" / "door").exists()


def test_an_end_keeps_the_data_unless_told_otherwise(folder: Path) -> None:
    refused = run(folder, "down")
    assert (refused.returncode, refused.stderr.startswith("Nothing to end")) == (1, True)
    run(folder, "up")
    run(folder, "down")
    assert asked(folder)[-1] == f"compose {ARGUMENTS} down"
    run(folder, "down", DELETE="1")
    assert asked(folder)[-1] == f"compose {ARGUMENTS} down --volumes"


def test_a_backup_is_complete_or_not_there(folder: Path) -> None:
    run(folder, "up")
    archive = folder / "my archive.tar"
    answer = run(folder, "backup", FILE=str(archive))
    assert answer.returncode == 0, answer.stderr
    assert asked(folder)[-1] == f"compose {ARGUMENTS} run --rm --no-deps -T backup"
    assert archive.stat().st_mode & 0o777 == 0o600
    assert run(folder, "backup", FILE=str(archive)).returncode == 1
    archive.unlink()
    docker = folder.parent / "bin" / "docker"
    docker.write_text("#!/bin/sh\necho half of it\nexit 1\n")
    assert run(folder, "backup", FILE=str(archive)).returncode == 1
    assert not list(folder.glob("my archive*"))


def test_a_restore_finds_postgresql_alone(folder: Path) -> None:
    run(folder, "up")
    archive = folder / "archive.tar"
    archive.write_text("x")
    before = len(asked(folder))
    answer = run(folder, "restore", FILE=str(archive), REPLACE="1")
    assert answer.returncode == 0, answer.stderr
    steps = [line.removeprefix(f"compose {ARGUMENTS} ") for line in asked(folder)[before:]]
    assert steps[:2] == ["ps --quiet", "up --detach --wait postgres"]
    assert steps[2].startswith("run --rm --no-deps -T restore ")
    assert steps[2].endswith(" --replace")
    assert steps[3] == "down"
    assert run(folder, "restore").returncode == 1
    docker = folder.parent / "bin" / "docker"
    docker.write_text("#!/bin/sh\necho a-container\n")
    answer = run(folder, "restore", FILE=str(archive))
    assert "make compose-down" in answer.stderr
