"""Where PostgreSQL's data goes, and who may enter."""

import os
import re
from pathlib import Path

import pytest

from local_stack import postgres
from local_stack.errors import StackError
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
    assert postgres._can_enter(open_folder, STRANGER)
    open_folder.chmod(0o700)
    assert not postgres._can_enter(open_folder, STRANGER)
    owner = open_folder.stat()
    assert postgres._can_enter(open_folder, (owner.st_uid, 54321))
    open_folder.chmod(0o710)
    assert postgres._can_enter(open_folder, (54321, owner.st_gid))


def test_data_stays_in_the_stacks_folder_for_an_ordinary_user(tmp_path: Path) -> None:
    assert postgres._home(tmp_path / "postgres", None) == tmp_path / "postgres"


def test_data_moves_out_of_a_closed_folder(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    home = postgres._home(tmp_path / "postgres", STRANGER)
    assert tmp_path not in home.parents
    assert home == postgres._home(tmp_path / "postgres", STRANGER)
    assert home != postgres._home(tmp_path / "other", STRANGER)


def test_a_planted_link_in_the_temporary_folder_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    home = postgres._home(tmp_path / "postgres", STRANGER)
    home.symlink_to(tmp_path)
    try:
        with pytest.raises(StackError, match="belongs to someone else"):
            postgres._home(tmp_path / "postgres", STRANGER)
    finally:
        home.unlink()


def test_urls_quote_the_password(tmp_path: Path) -> None:
    server = postgres.Postgres(Processes(tmp_path))
    server._credentials = postgres.Credentials({"sales_reader": "a/b@c:d"})
    with pytest.raises(StackError, match="was not started"):
        server.url("sales_reader", "sales")
    server.port = 5432
    assert server.url("sales_reader", "sales").startswith(
        "postgresql://sales_reader:a%2Fb%40c%3Ad@127.0.0.1:5432/"
    )


def test_every_role_gets_a_password_of_its_own() -> None:
    passwords = postgres.Credentials.generate().passwords
    assert set(passwords) == {"postgres", *postgres.ROLES}
    assert len(set(passwords.values())) == len(passwords)
    assert all(len(password) >= 32 for password in passwords.values())


def test_all_roles_together_stay_below_the_servers_connections() -> None:
    superusers = 3
    assert postgres.CONNECTIONS.keys() == set(postgres.ROLES)
    assert sum(postgres.CONNECTIONS.values()) <= postgres.MAX_CONNECTIONS - superusers
    root = Path(postgres.__file__).parents[1]
    composed = (root / "deploy" / "postgres" / "roles.sh").read_text()
    found = re.findall(r"^create (\w+) .* (\d+)$", composed, re.MULTILINE)
    assert {role: int(limit) for role, limit in found} == postgres.CONNECTIONS
    assert (
        f"max_connections={postgres.MAX_CONNECTIONS}" in (root / "docker-compose.yml").read_text()
    )
