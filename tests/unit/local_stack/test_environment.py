"""Which component gets which variable, and the `.env` file."""

from pathlib import Path

import pytest
from dotenv import dotenv_values

from forecast_assets.settings import Settings
from local_stack import environment
from local_stack.errors import StackError

VALUES = {name: f"value of {name}" for name in environment.VARIABLES}


def test_the_stream_sees_no_other_roles_password() -> None:
    passed = environment.component_environment("stream", VALUES, base={})
    assert "STREAM_DATABASE_URL" in passed
    for other in ("OWNER", "FORECAST", "READER"):
        assert f"{other}_DATABASE_URL" not in passed
    assert "DAGSTER_POSTGRES_URL" not in passed


def test_only_migrations_get_the_owner() -> None:
    with_owner = [
        name for name, names in environment.COMPONENTS.items() if "OWNER_DATABASE_URL" in names
    ]
    assert with_owner == ["migrations"]


def test_what_is_inherited_is_cleared_of_the_contract() -> None:
    base = {"PATH": "/bin", "OWNER_DATABASE_URL": "secret", "PGPASSWORD": "secret"}
    passed = environment.component_environment("reader", {}, base=base)
    assert passed == {
        "PATH": "/bin",
        "PYTHONUNBUFFERED": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }


def test_every_dagster_process_gets_both_batching_settings() -> None:
    passed = environment.component_environment(
        "dagster", environment.repository_settings(), base={}
    )
    assert passed["DAGSTER_EVENT_BATCH_SIZE"] == "2000"
    assert passed["DAGSTER_EMIT_PARTITION_SUBSET_IN_PLANNED_EVENTS"] == "true"


def test_dotenv_is_private_and_reads_back(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    values = {**VALUES, "SPARK_MASTER": "local[2,4]", "SALES_TOPIC": 'it\'s # "odd" $HOME \\'}
    values["SALES_CALENDAR_END"] = ""
    environment.write_dotenv(path, values, tmp_path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert dotenv_values(path, interpolate=False) == values


def test_ones_own_dotenv_is_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    path.write_text("MINE=1\n")
    with pytest.raises(StackError, match=r"did not write .*: move it away"):
        environment.write_dotenv(path, VALUES, tmp_path)
    environment.remove_dotenv(path)
    assert path.read_text() == "MINE=1\n"


def test_the_stacks_dotenv_is_overwritten_and_removed(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    environment.write_dotenv(path, VALUES, tmp_path)
    environment.write_dotenv(path, {"SALES_TOPIC": "other"}, tmp_path)
    assert "SALES_TOPIC=other" in path.read_text()
    environment.remove_dotenv(path)
    assert not path.exists()


def test_the_example_lists_every_variable_with_no_secret() -> None:
    example = Path(__file__).parents[3] / ".env.example"
    values = dotenv_values(example, interpolate=False)
    of_assets = {field.alias for field in Settings.model_fields.values()}
    assert set(environment.VARIABLES) <= set(values) <= set(environment.VARIABLES) | of_assets
    assert not [name for name in values if name.endswith("_URL") and values[name]]
