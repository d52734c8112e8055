import os
import subprocess
import sys
from pathlib import Path

import pytest

from forecast_assets.settings import (
    DAGSTER_BATCHING,
    Settings,
    SettingsError,
    apply_dagster_batching,
    settings,
)


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in list(os.environ):
        if name.startswith(("FORECAST_", "SALES_CALENDAR_")):
            monkeypatch.delenv(name)
    settings.cache_clear()
    yield
    settings.cache_clear()


def test_defaults_need_no_environment() -> None:
    chosen = settings()
    assert chosen.date_grain == "monthly"
    assert chosen.horizon == 42
    assert chosen.calendar_end is None


def test_a_missing_address_says_what_to_do() -> None:
    with pytest.raises(SettingsError, match=r"FORECAST_DATABASE_URL is not set.*make up"):
        settings().require_database_url()


def test_empty_variables_are_unset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SALES_CALENDAR_END", "")
    monkeypatch.setenv("FORECAST_DATABASE_URL", "")
    monkeypatch.setenv("FORECAST_SPARK_FROM_CELLS", "")
    monkeypatch.setenv("SPARK_MASTER", "")
    assert settings().spark_from_cells is None
    assert settings().spark_master == "local[2,4]"
    assert settings().calendar_end is None
    assert settings().database_url is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SALES_CALENDAR_START", "yesterday"),
        ("FORECAST_DATE_GRAIN", "yearly"),
        ("FORECAST_HORIZON", "0"),
        ("FORECAST_SPARK_FROM_CELLS", "0"),
        ("SALES_CALENDAR_END", "2012-01-01"),
    ],
)
def test_an_impossible_value_is_named(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match=name):
        settings()


def test_a_variable_of_the_shell_that_is_named_like_a_field_is_no_setting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in Settings.model_fields:
        if name.upper() != Settings.model_fields[name].alias:
            monkeypatch.setenv(name.upper(), "no setting of ours")
    assert settings() == settings.__wrapped__()


def test_the_password_stays_out_of_sight() -> None:
    chosen = Settings(FORECAST_DATABASE_URL="postgresql://sales_assets:secret-word@127.0.0.1/sales")
    assert "secret-word" not in repr(chosen)
    assert "secret-word" in chosen.require_database_url()


def test_a_dotenv_file_is_read(tmp_path: Path) -> None:
    """In a process of its own: the tests' settings read none."""
    (tmp_path / ".env").write_text("SALES_CALENDAR_START=2024-05-01\n")
    code = "from forecast_assets.settings import settings; print(settings().calendar_start)"
    output = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout
    assert output.strip() == "2024-05-01"


def test_batching_is_applied_but_a_users_own_value_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in DAGSTER_BATCHING:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DAGSTER_EVENT_BATCH_SIZE", "10")
    apply_dagster_batching()
    assert os.environ["DAGSTER_EVENT_BATCH_SIZE"] == "10"
    assert os.environ["DAGSTER_EMIT_PARTITION_SUBSET_IN_PLANNED_EVENTS"] == "true"
