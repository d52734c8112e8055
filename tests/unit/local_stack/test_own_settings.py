"""The settings that a user keeps in `.env.local`, and what the stack's own command forgets."""

from pathlib import Path

import pytest

from forecast_assets.settings import Settings
from local_stack import environment, inherited, own_settings, paths
from local_stack.errors import StackError
from streaming_job.settings import load_settings
from tests.support.stack_command import move_stacks, run_stack_command


def read(path: Path, text: str, shell: dict[str, str] | None = None) -> dict[str, str]:
    path.write_text(text)
    variables = dict(shell or {})
    assert own_settings.take_own_settings(path, environment.VARIABLES, variables) == []
    return variables


def wrong_in(path: Path, text: str, shell: dict[str, str] | None = None) -> str:
    """Return the one line that says what is wrong."""
    path.write_text(text)
    variables = dict(shell or {})
    (line,) = own_settings.take_own_settings(path, environment.VARIABLES, variables)
    assert "\n" not in line
    return line


def test_settings_are_taken_and_the_shells_win(tmp_path: Path) -> None:
    path = tmp_path / ".env.local"
    text = "FORECAST_HORIZON=14\nSTREAM_METRICS_PORT=9000\nSTACK_UI_PORT=3001\nJAVA_HOME='/a b'\n"
    assert read(path, text, {"FORECAST_HORIZON": "7"}) == {
        "FORECAST_HORIZON": "7",
        "STREAM_METRICS_PORT": "9000",
        "STACK_UI_PORT": "3001",
        "JAVA_HOME": "/a b",
    }
    assert path.read_text() == text


def test_a_missing_file_and_an_empty_value_are_no_settings(tmp_path: Path) -> None:
    variables: dict[str, str] = {}
    assert own_settings.take_own_settings(tmp_path / ".env.local", (), variables) == []
    assert not variables
    assert read(tmp_path / ".env.local", "# a comment\nFORECAST_RECIPE=\n") == {}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("FORECAST_HORIZONT=14\n", "did you mean FORECAST_HORIZON"),
        ("SALES_TOPIC=mine\n", "SALES_TOPIC, which the stack decides itself"),
        ("GREETING=1\n", "GREETING, which is no setting"),
    ],
)
def test_a_line_that_would_do_nothing_is_told(tmp_path: Path, text: str, message: str) -> None:
    assert message in wrong_in(tmp_path / ".env.local", text)


def test_a_wrong_line_does_not_hide_the_right_ones(tmp_path: Path) -> None:
    path, variables = tmp_path / ".env.local", {"FORECAST_MAX_AGE_DAYS": "5"}
    path.write_text("GREETING=1\nFORECAST_MAX_AGE_DAYS=abc\nSTACK_UI_PORT=3001\n")
    assert len(own_settings.take_own_settings(path, environment.VARIABLES, variables)) == 1
    assert variables == {"FORECAST_MAX_AGE_DAYS": "5", "STACK_UI_PORT": "3001"}


@pytest.mark.parametrize(
    ("line", "allowed"),
    [
        ("FORECAST_MAX_AGE_DAYS=abc", "integer"),
        ("FORECAST_MAX_AGE_DAYS=0", "greater than or equal to 1"),
        ("FORECAST_RECIPE=magic", "'ridge' or 'stack'"),
        ("STREAM_METRICS_PORT=http", "integer"),
        ("SERVICE_POOL_SIZE=many", "integer"),
        ("STACK_UI_PORT=70000", "from 1 to 65535"),
    ],
)
def test_a_value_that_is_not_allowed_is_told_with_its_place(
    tmp_path: Path, line: str, allowed: str
) -> None:
    path = tmp_path / ".env.local"
    told = wrong_in(path, line + "\n")
    assert told.startswith(f"{path} sets {line}: ") and allowed in told
    name, _, value = line.partition("=")
    assert wrong_in(path, "", {name: value}).startswith(f"the shell sets {line}: ")


def test_a_value_that_is_secret_is_not_shown(tmp_path: Path) -> None:
    told = wrong_in(tmp_path / ".env.local", "FORECAST_ALERT_WEBHOOK=hooks.example/T0K3N\n")
    assert "FORECAST_ALERT_WEBHOOK: input should be a valid URL" in told
    assert "T0K3N" not in told


def test_a_file_that_is_no_text_is_told_and_stops_no_end(tmp_path: Path) -> None:
    path = tmp_path / ".env.local"
    path.write_bytes(b"FORECAST_HORIZON=\xff\xfe")
    (told,) = own_settings.take_own_settings(path, (), {})
    assert "UTF-8" in told
    environment.write_dotenv(tmp_path / ".env", {"SALES_TOPIC": "sales"}, tmp_path)
    environment.remove_dotenv(tmp_path / ".env")
    assert not (tmp_path / ".env").exists()


@pytest.mark.parametrize("line", ["FORECAST_NONSENSE=1", "FORECAST_MAX_AGE_DAYS=abc"])
def test_only_what_needs_settings_refuses_wrong_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str
) -> None:
    move_stacks(tmp_path, monkeypatch)
    paths.OWN_DOTENV.write_text(line + "\n")
    for refused in (["up"], ["demo", "--once"], ["restore", "archive"]):
        result = run_stack_command(*refused)
        assert isinstance(result.exception, StackError)
        assert line.partition("=")[0] in str(result.exception)
    ended = run_stack_command("down")
    assert (ended.exit_code, ended.output) == (0, "nothing was running\n")
    shown = run_stack_command("status")
    assert shown.exit_code == 0 and "nothing is running" in shown.output
    assert line.partition("=")[0] in shown.stderr
    examined = run_stack_command("doctor")
    assert examined.exit_code == 2
    assert [
        told for told in examined.output.splitlines() if told.startswith("PROBLEM settings")
    ] and "memory" in examined.output


def test_command_lines_read_the_stacks_file_and_then_the_users(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from streaming_job.settings import DOTENV_FILES, SparkSettings, StreamSettings

    for settings in (Settings, SparkSettings, StreamSettings):
        monkeypatch.setitem(settings.model_config, "env_file", DOTENV_FILES)
    for name in ("FORECAST_HORIZON", "JAVA_HOME", "SPARK_DRIVER_MEMORY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    Path(".env").write_text(
        "STREAM_DATABASE_URL=postgresql://h/d\nKAFKA_BOOTSTRAP_SERVERS=h:1\nJAVA_HOME=/java\n"
    )
    Path(".env.local").write_text("FORECAST_HORIZON=14\nSPARK_DRIVER_MEMORY=3g\n")
    assert Settings().horizon == 14  # type: ignore[call-arg]
    assert load_settings().spark_driver_memory == "3g"
    assert load_settings().java_home == Path("/java")


def test_a_setting_that_was_added_to_the_stacks_file_survives_it(tmp_path: Path) -> None:
    path, own = tmp_path / ".env", tmp_path / ".env.local"
    own.write_text("FORECAST_RECIPE=stack")
    environment.write_dotenv(path, {"SALES_TOPIC": "sales"}, tmp_path)
    with path.open("a") as file:
        file.write("FORECAST_HORIZON=14\nFORECAST_RECIPE=ridge\nOTHER=1\nSALES_TOPIC=mine\n")
    environment.write_dotenv(path, {"SALES_TOPIC": "sales"}, tmp_path)
    assert "HORIZON" not in path.read_text()
    environment.remove_dotenv(path)
    assert not path.exists()
    assert own.read_text() == "FORECAST_RECIPE=stack\nFORECAST_HORIZON=14\n"


def test_the_stacks_command_forgets_what_it_does_not_know() -> None:
    variables = {
        "PATH": "/bin",
        "TERM": "xterm",
        "STACK_UI_PORT": "3001",
        "PIP_INDEX_URL": "https://index",
        "FORECAST_HORIZON": "14",
        "JAVA_TOOL_OPTIONS": "-Xmx1m",
        "PGOPTIONS": "-c x=y",
        "DATA": "/elsewhere",
        "HTTP_PROXY": "http://proxy",
    }
    inherited.keep_known_variables({"FORECAST_HORIZON"}, variables)
    assert {"JAVA_TOOL_OPTIONS", "PGOPTIONS", "DATA"}.isdisjoint(variables)
    assert {"PATH", "TERM", "STACK_UI_PORT", "PIP_INDEX_URL", "FORECAST_HORIZON"} <= set(variables)
    assert "127.0.0.1" in variables["NO_PROXY"]
