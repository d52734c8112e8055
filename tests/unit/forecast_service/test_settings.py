"""The service's settings: which variables count."""

from pathlib import Path

import pytest

from forecast_service.settings import Settings, load_settings
from tests.unit.forecast_service.conftest import NOWHERE


def test_a_variable_of_the_shell_that_is_named_like_a_field_is_no_setting(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("READER_DATABASE_URL", NOWHERE)
    before = load_settings()
    for name, field in Settings.model_fields.items():
        if name.upper() != field.alias:
            monkeypatch.setenv(name.upper(), "no setting of ours")
    assert load_settings() == before
