"""The last line of `restore`: the one command that starts what was restored."""

from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import pytest

from local_stack import paths
from local_stack.backup import embedded
from local_stack.errors import StackError
from local_stack.postgres import Postgres
from local_stack.stack import Stack
from streaming_job.continuity import Continuity
from tests.support.stack_command import move_stacks, run_stack_command


@pytest.fixture
def up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder into which anything is restored at once."""
    move_stacks(tmp_path, monkeypatch)
    monkeypatch.setattr(embedded, "_postgres", lambda stack: nullcontext())
    monkeypatch.setattr(Postgres, "url", lambda *names: "postgresql://")
    monkeypatch.setattr(
        embedded,
        "restoring",
        SimpleNamespace(
            restore=lambda *arguments, **options: SimpleNamespace(calendar=None),
            Target=lambda *parts: None,
            replace_folder=lambda *parts: None,
        ),
    )
    return paths.UP_STACK


def lines_of_restore() -> list[str]:
    result = run_stack_command("restore", "archive.tar")
    assert result.exit_code == 0, result.exception
    return result.output.splitlines()


def test_on_another_machine_the_topic_is_a_new_one(up: Path) -> None:
    *before, last = lines_of_restore()
    assert last == (
        "restored: start it once with `make up NEW_TOPIC=1`, and from then on with `make up`"
    )
    assert not any("make up" in line for line in before), "one command, in the last line"


@pytest.mark.parametrize(
    ("found", "last"),
    [
        (Continuity("sales"), "restored: `make up` starts it"),
        (Continuity("sales", refusal="it was recreated"), "make up NEW_TOPIC=1"),
        (StackError("kafka ended"), "`make up` starts it; if the stream then refuses"),
    ],
)
def test_beside_the_old_broker_the_comparison_decides(
    up: Path, monkeypatch: pytest.MonkeyPatch, found: Continuity | StackError, last: str
) -> None:
    (up / "kafka" / "data").mkdir(parents=True)
    monkeypatch.setattr(Stack, "start_services", lambda *arguments: None)

    def compare(stack: Stack) -> Continuity:
        if isinstance(found, StackError):
            raise found
        return found

    monkeypatch.setattr(embedded, "compare_with_broker", compare)
    *before, told = lines_of_restore()
    assert last in told
    assert not any("make up" in line for line in before)
