"""No file makes a command that reads Kaggle's files fail with a traceback.

`load`, which needs a database, is in `tests/integration/test_loading.py`.
"""

import sys
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path

import pytest

from local_stack.data_plan import LEAST_HISTORY_DAYS, plan_of_files
from local_stack.errors import StackError
from rossmann.sample_data import sample_files
from streaming_job import producer
from tests.support.mutated_files import mutate

MUTATIONS = 100
END = date(2015, 6, 19)


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("good")
    sample_files(stores=3, days=LEAST_HISTORY_DAYS + 20, end=END).write(folder)
    return folder


def mutated(good: Path, folder: Path, first: int = 0) -> Iterator[tuple[str, bool]]:
    """Write one bad folder after the other; tell what is wrong and whether to skip bad lines."""
    for seed in range(first, first + MUTATIONS):
        yield f"seed {seed}: {mutate(good, folder, seed)}", bool(seed % 2)


def run(main: Callable[[], None], monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["command", *arguments])
    try:
        main()
    except SystemExit as ended:
        return int(ended.code or 0)
    return 0


def judge(code: int, capsys: pytest.CaptureFixture[str], what: str) -> bool:
    """Check what a command said, and tell whether it took the files."""
    told = capsys.readouterr().err.strip()
    if code == 0:
        return True
    errors = [line for line in told.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1 and told.endswith(errors[0]), f"{what}: {code} {told}"
    return False


@pytest.mark.parametrize("command", ["evaluate", "submission"])
def test_no_file_makes_an_evaluation_fail_with_a_traceback(
    command: str,
    good: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from forecast_assets.commands.main import main

    folder = tmp_path / "files [/red]"
    options = {
        "evaluate": ["--horizon=7", "--windows=1", "--recipe=ridge"],
        "submission": [f"--output={tmp_path}/out.csv", "--recipe=ridge"],
    }[command]
    taken = 0
    for what, skips in mutated(good, folder):
        more = ["--skip-bad"] if skips else []
        code = run(main, monkeypatch, command, f"--data={folder}", *options, *more)
        taken += judge(code, capsys, what)
    assert 20 < taken < MUTATIONS, "some files are good enough, others are not"


def test_no_file_makes_the_producer_fail_with_a_traceback(
    good: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from streaming_job.cli import app

    monkeypatch.setenv("STREAM_DATABASE_URL", "postgresql://h/d")
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:1")
    monkeypatch.setattr(producer, "produce", lambda rows, **_: len(rows))
    folder = tmp_path / "files [/red]"
    taken = 0
    for what, skips in mutated(good, folder, 1_000):
        options = [f"--data={folder}", f"--date={END}", *(["--skip-bad"] if skips else [])]
        taken += judge(run(app, monkeypatch, "produce", *options), capsys, what)
    assert 20 < taken < MUTATIONS


def test_no_file_makes_the_stack_fail_with_a_traceback(good: Path, tmp_path: Path) -> None:
    taken = 0
    for what, skips in mutated(good, tmp_path / "files", 2_000):
        try:
            plan_of_files(tmp_path / "files", skip_bad=skips)
            taken += 1
        except StackError as refused:
            assert "\n" not in str(refused), what
    assert 20 < taken < MUTATIONS


def test_a_message_keeps_its_brackets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from forecast_assets.commands.main import main

    folder = tmp_path / "files [/red] [9]"
    folder.mkdir(parents=True)
    assert run(main, monkeypatch, "evaluate", f"--data={folder}") == 1
    assert f"error: {folder}/train.csv: no such file" in capsys.readouterr().err


def test_an_output_that_cannot_be_written_is_refused_before_the_work(
    good: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from forecast_assets.commands.main import main

    for output, problem in ((tmp_path, "is a folder"), (tmp_path / "a" / "b", "does not exist")):
        options = [f"--data={good}", f"--output={output}"]
        assert run(main, monkeypatch, "submission", *options) == 2
        assert problem in " ".join(capsys.readouterr().err.replace("│", "").split())
