"""A setting that cannot be used is named, and its secret stays out of message and traceback."""

import traceback
from pathlib import Path

import pytest

from forecast_assets import settings as of_assets
from streaming_job import settings as of_stream
from streaming_job.broker_access import broker_access

SECRET = "planted7secret"
ADDRESSES = [
    f"mysql://u:{SECRET}@127.0.0.1:1/sales",
    f"u:{SECRET}@host",
    SECRET,
    f"postgresql://u:{SECRET}%zz@127.0.0.1:1/sales",
    f"postgresql://u:{SECRET}@[::1/sales",
    f"postgresql://u:x@{SECRET}@127.0.0.1:1/sales",
    f"postgresql://u:{SECRET}/x@127.0.0.1:1/sales",
    f"postgresql://u:x#{SECRET}@127.0.0.1:1/sales",
    f"postgresql://u:x?{SECRET}@127.0.0.1:1/sales",
]


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    monkeypatch.chdir(tmp_path)
    of_assets.settings.cache_clear()
    return monkeypatch


def printed(error: BaseException) -> str:
    return "".join(traceback.format_exception(error)) + repr(error)


@pytest.mark.parametrize("address", ADDRESSES)
@pytest.mark.parametrize("variable", ["FORECAST_DATABASE_URL", "READER_DATABASE_URL"])
def test_the_assets_address(environment: pytest.MonkeyPatch, variable: str, address: str) -> None:
    environment.setenv(variable, address)
    with pytest.raises(of_assets.SettingsError, match=variable) as refused:
        of_assets.settings()
    assert SECRET not in printed(refused.value)


@pytest.mark.parametrize("address", ADDRESSES)
def test_the_streams_address(environment: pytest.MonkeyPatch, address: str) -> None:
    environment.setenv("STREAM_DATABASE_URL", address)
    environment.setenv("KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:1")
    with pytest.raises(of_stream.SettingsError, match="STREAM_DATABASE_URL") as refused:
        of_stream.load_settings()
    assert SECRET not in printed(refused.value)


@pytest.mark.parametrize("address", ["p%40ss", "p%2Fss%25", "pass", "", "-_.~!$&'()*+,;="])
def test_an_address_that_clients_can_read_is_taken(
    environment: pytest.MonkeyPatch, address: str
) -> None:
    whole = f"postgresql://u:{address}@127.0.0.1:5432/sales?sslmode=require"
    environment.setenv("STREAM_DATABASE_URL", whole)
    environment.setenv("FORECAST_DATABASE_URL", whole)
    environment.setenv("KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:1")
    assert of_stream.load_settings().database_url == whole
    assert of_assets.settings().require_database_url() == whole


def test_the_webhook(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("FORECAST_ALERT_WEBHOOK", f"chat.example/{SECRET}")
    with pytest.raises(of_assets.SettingsError, match="FORECAST_ALERT_WEBHOOK") as refused:
        of_assets.settings()
    assert SECRET not in printed(refused.value)


def test_the_brokers_password(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("KAFKA_SECURITY_PROTOCOL", "SASL_PLAIN")
    environment.setenv("KAFKA_SASL_PASSWORD", SECRET)
    with pytest.raises(of_stream.SettingsError, match="KAFKA_SECURITY_PROTOCOL") as refused:
        broker_access()
    assert SECRET not in printed(refused.value)


def test_nothing_that_is_printed_shows_a_secret(environment: pytest.MonkeyPatch) -> None:
    address = f"postgresql://u:{SECRET}@127.0.0.1:1/sales"
    for name in ("FORECAST_DATABASE_URL", "READER_DATABASE_URL", "STREAM_DATABASE_URL"):
        environment.setenv(name, address)
    environment.setenv("FORECAST_ALERT_WEBHOOK", f"https://chat.example/{SECRET}")
    environment.setenv("KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:1")
    for made in (of_assets.settings(), of_stream.load_settings()):
        assert SECRET not in f"{made} {made!r} {made.model_dump()}"
