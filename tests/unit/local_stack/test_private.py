"""Folders, files and tokens that other users of the machine cannot read."""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from local_stack import private
from local_stack.dagster_processes import Dagster
from local_stack.mlflow_server import MlflowServer
from local_stack.processes import Command, Processes
from local_stack.stack import Stack


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o7777


def test_an_open_folder_is_closed(tmp_path: Path) -> None:
    folder = tmp_path / "stack"
    folder.mkdir(mode=0o755)
    private.make_private(folder)
    assert mode(folder) == 0o700
    private.make_private(folder, passage=(os.geteuid(), os.getegid()))
    assert mode(folder) == 0o710


def test_a_file_is_private_from_its_first_byte(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_text("readable by all")
    path.chmod(0o644)
    private.write_private(path, "secret")
    assert (mode(path), path.read_text()) == (0o600, "secret")


def test_a_secret_is_kept_and_the_same_for_all_who_ask_at_once(tmp_path: Path) -> None:
    with ThreadPoolExecutor(16) as pool:
        kept = set(pool.map(private.kept_secret, [tmp_path / "token"] * 64))
    assert kept == {private.kept_secret(tmp_path / "token")}
    assert len(kept.pop()) == 43
    assert [path.name for path in tmp_path.iterdir()] == ["token"]
    assert mode(tmp_path / "token") == 0o600


def test_a_stack_is_closed_to_other_users(tmp_path: Path) -> None:
    stack = Stack(tmp_path / "stack")
    stack.close_folders()
    # Root lets the user of PostgreSQL pass through to its data, and nobody else.
    assert mode(stack.folder) == (0o710 if os.geteuid() == 0 else 0o700)
    processes = Processes(stack.folder)
    processes.start(Command("sleeper", ["sleep", "0"], {"PATH": os.environ["PATH"]}))
    processes.stop_all()
    dagster, mlflow = Dagster(processes), MlflowServer(processes)
    dagster.prepare()
    mlflow.choose_port()
    assert {mode(folder) for folder in stack.folder.iterdir() if folder.is_dir()} == {0o700}
    assert len({dagster.token, mlflow.token}) == 2
    for path in (dagster.home / "token", mlflow.folder / "token"):
        assert mode(path) == 0o600


def test_a_sign_in_link_holds_the_token_and_the_address_does_not(tmp_path: Path) -> None:
    dagster = Dagster(Processes(tmp_path))
    dagster.prepare()
    dagster.port = 3000
    assert dagster.sign_in_link == f"http://127.0.0.1:3000/?token={dagster.token}"
    assert dagster.token not in dagster.url
