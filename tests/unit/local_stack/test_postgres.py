"""Where PostgreSQL's data goes, and who may enter."""

import os
from pathlib import Path

import pytest

from local_stack import paths, postgres, postgres_data, private
from local_stack.errors import StackError
from local_stack.postgres_roles import read_access
from local_stack.processes import Processes

STRANGER = (54321, 54321)


@pytest.fixture
def open_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that everybody may enter; pytest's own are closed to others."""
    folder = tmp_path / "open"
    folder.mkdir(mode=0o755)
    for parent in [folder, *folder.parents]:
        if parent.stat().st_uid == os.geteuid() and not parent.stat().st_mode & 0o001:
            monkeypatch.setattr(Path, "parents", property(lambda self: []))
            break
    return folder


def test_a_user_enters_by_the_bits_that_apply_to_him(open_folder: Path) -> None:
    assert private.can_enter(open_folder, STRANGER)
    open_folder.chmod(0o700)
    assert not private.can_enter(open_folder, STRANGER)
    owner = open_folder.stat()
    assert private.can_enter(open_folder, (owner.st_uid, 54321))
    open_folder.chmod(0o710)
    assert private.can_enter(open_folder, (54321, owner.st_gid))


def test_data_stays_in_the_stacks_folder_for_an_ordinary_user(tmp_path: Path) -> None:
    assert postgres_data.data_home(tmp_path / "postgres", None) == tmp_path / "postgres"


def test_data_moves_out_of_a_closed_folder(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    home = postgres_data.data_home(tmp_path / "postgres", STRANGER)
    assert tmp_path not in home.parents
    assert home == postgres_data.data_home(tmp_path / "postgres", STRANGER)
    assert home != postgres_data.data_home(tmp_path / "other", STRANGER)


def test_a_planted_link_in_the_temporary_folder_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    home = postgres_data.data_home(tmp_path / "postgres", STRANGER)
    home.symlink_to(tmp_path)
    try:
        with pytest.raises(StackError, match="belongs to someone else"):
            postgres_data.data_home(tmp_path / "postgres", STRANGER)
    finally:
        home.unlink()


def test_urls_quote_the_password(tmp_path: Path) -> None:
    server = postgres.Postgres(Processes(tmp_path))
    server.files._credentials = postgres_data.Credentials({"sales_reader": "a/b@c:d"})
    with pytest.raises(StackError, match="was not started"):
        server.url("sales_reader", "sales")
    server.port = 5432
    assert server.url("sales_reader", "sales").startswith(
        "postgresql://sales_reader:a%2Fb%40c%3Ad@127.0.0.1:5432/"
    )


def test_every_role_gets_a_password_of_its_own() -> None:
    passwords = postgres_data.Credentials.generate().passwords
    assert set(passwords) == {"postgres", *read_access().connections}
    assert len(set(passwords.values())) == len(passwords)
    assert all(len(password) >= 32 for password in passwords.values())


def test_all_roles_together_stay_below_the_servers_connections() -> None:
    superusers = 3
    connections = read_access().connections
    assert len(connections) == 8
    assert sum(connections.values()) <= postgres.MAX_CONNECTIONS - superusers
    composed = (paths.REPOSITORY / "docker-compose.yml").read_text()
    assert f"max_connections={postgres.MAX_CONNECTIONS}" in composed


def test_a_line_that_is_not_understood_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "roles.txt"
    file.write_text("# kinds\n\nrole somebody 3\nschema sales\n")
    monkeypatch.setattr(paths, "ROLES", file)
    with pytest.raises(StackError, match="line 4: 'schema sales' is not understood"):
        read_access.__wrapped__()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root starts programs for another user")
def test_the_servers_user_cannot_replace_the_programs_that_root_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As where the environment lies under a closed folder: the programs are copied.
    monkeypatch.setattr(postgres_data, "can_enter", lambda folder, user: False)
    files = postgres_data.DataFolder(tmp_path / "postgres")
    assert files.user is not None
    try:
        # As an earlier version left it: the folder and a program in it are the server's user's.
        planted = files.home / "pginstall" / "bin" / "postgres"
        planted.parent.mkdir(parents=True)
        planted.write_text("#!/bin/sh\ntouch /planted\n")
        (files.home / "pginstall" / "complete").touch()
        for path in [files.home, *files.home.rglob("*")]:
            os.chown(path, *files.user)
        binaries = files.binaries()
        assert planted.read_bytes()[:4] == b"\x7fELF"
        for path in [*binaries.parents[: len(files.home.parents) + 1], *files.home.rglob("*")]:
            status = path.lstat()
            assert status.st_uid == 0, path
            is_sticky = status.st_mode & 0o1000
            assert path.is_symlink() or is_sticky or not status.st_mode & 0o022, path
    finally:
        files.remove()
