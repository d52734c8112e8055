"""What a shell exports for other programs does not change what commands do."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from streaming_job.environment import forget_foreign_variables
from warehouse.environment import forget_libpq_variables

ROOT = Path(__file__).parents[2]
#: A Makefile that tells what folder the targets would get.
SHOW = "include Makefile\nshow:\n\t@printf '%s\\n' $(WITH_DATA)\n"


def make(*arguments: str, **variables: str) -> str:
    environment = {"PATH": os.environ["PATH"], **variables}
    answer = subprocess.run(
        ["make", "--no-print-directory", *arguments],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return answer.stdout


@pytest.mark.parametrize("options", [[], ["-e"]])
def test_only_makes_own_arguments_count(options: list[str]) -> None:
    exported = dict.fromkeys(("DATA", "ONCE", "DELETE", "SEED", "ROUNDS", "PYTHON"), "1")
    for target in ("down", "demo", "up", "chaos"):
        assert make("-n", *options, target, **exported) == make("-n", target)


@pytest.mark.parametrize(
    ("value", "deletes"), [("1", True), ("yes", True), ("0", False), ("no", False)]
)
def test_an_argument_of_make_deletes(value: str, deletes: bool) -> None:
    assert ("--delete-data" in make("-n", "down", f"DELETE={value}")) == deletes


@pytest.mark.parametrize("folder", ["a b", "it's", 'say "x"', "`date`", "Größe", "$HOME", "a;b"])
def test_a_folder_of_any_letters_arrives(folder: str, tmp_path: Path) -> None:
    makefile = tmp_path / "show.mk"
    makefile.write_text(SHOW)
    given = folder.replace("$", "$$")
    assert make("-f", str(makefile), "show", f"DATA={given}") == f"--data={folder}\n"


def test_the_stream_forgets_what_its_libraries_would_read() -> None:
    ours = {
        "SPARK_MASTER": "local[2,4]",
        "SPARK_DRIVER_MEMORY": "1g",
        "JAVA_HOME": "/java",
        "PATH": "/bin",
        "PYTHONUNBUFFERED": "1",
        "KAFKA_BOOTSTRAP_SERVERS": "h:1",
    }
    foreign = {
        "PGOPTIONS": "x",
        "SPARK_HOME": "x",
        "SPARK_CONF_DIR": "x",
        "SPARK_LOCAL_IP": "x",
        "PYSPARK_SUBMIT_ARGS": "x",
        "PYSPARK_DRIVER_PYTHON": "x",
        "HADOOP_CONF_DIR": "x",
        "JAVA_TOOL_OPTIONS": "x",
        "JDK_JAVA_OPTIONS": "x",
        "_JAVA_OPTIONS": "x",
        "CLASSPATH": "x",
        "PYTHONPATH": "x",
        "PYTHONHASHSEED": "x",
    }
    variables = ours | foreign
    forget_foreign_variables(variables)
    assert variables == ours


def test_another_databases_variables_are_forgotten() -> None:
    variables = {"PGOPTIONS": "x", "PGSERVICE": "x", "PGSSLROOTCERT": "x", "PAGER": "less"}
    forget_libpq_variables(variables)
    assert variables == {"PAGER": "less"}


@pytest.mark.parametrize("name", ["a,b", "a:b"])
def test_a_folder_that_java_cannot_name_is_refused_in_one_line(name: str, tmp_path: Path) -> None:
    folder = tmp_path / name
    folder.mkdir()
    answer = subprocess.run(
        ["sh", str(ROOT / "local_stack" / "setup.sh")],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.returncode == 1 and list(folder.iterdir()) == []
    assert f"{folder} has a colon or a comma in its name" in answer.stderr
    assert answer.stderr.count("\n") == 1


def test_a_variable_that_stops_every_java_does_not_stop_the_stacks() -> None:
    answer = subprocess.run(
        [sys.executable, "-m", "local_stack", "prepare"],
        cwd=ROOT,
        env={**os.environ, "JAVA_TOOL_OPTIONS": "-agentlib:nothing", "_JAVA_OPTIONS": "-Xmx1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (answer.returncode, answer.stderr) == (0, "")


@pytest.fixture
def own_environment() -> Iterator[None]:
    """Let a test change this process's variables."""
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)


@pytest.mark.usefixtures("own_environment")
def test_spark_runs_on_the_java_of_the_stacks_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from streaming_job.session import prepare_environment
    from streaming_job.settings import DOTENV_FILES, SparkSettings

    monkeypatch.setitem(SparkSettings.model_config, "env_file", DOTENV_FILES)
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").write_text("JAVA_HOME='/java of the stack'\n")
    os.environ.pop("JAVA_HOME", None)
    os.environ |= {"SPARK_HOME": "/elsewhere", "PYTHONPATH": "/elsewhere", "LC_ALL": "C"}
    prepare_environment()
    assert os.environ["JAVA_HOME"] == "/java of the stack"
    assert "SPARK_HOME" not in os.environ and os.environ["LC_ALL"] == "C.UTF-8"
    assert os.environ["PYTHONPATH"] == str(ROOT)
