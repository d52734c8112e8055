"""The application without a database: what it refuses, it refuses before it reads anything."""

from collections.abc import Iterator
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from forecast_service.app import create_app
from forecast_service.settings import Settings
from forecast_service.tokens import digest_of

#: A port on which nothing listens.
NOWHERE = "postgresql://sales_reader:planted-password@127.0.0.1:9/sales"
TOKENS = {
    "reader": ["read"],
    "planner": ["read", "plan"],
    "trainer": ["read", "train"],
    "operator": ["read", "operate"],
}


def settings(**changes: Any) -> Settings:
    values = {"reader_url": NOWHERE, "planner_url": NOWHERE, "pool_wait_seconds": 0.2} | changes
    variables = {Settings.model_fields[name].alias: value for name, value in values.items()}
    return Settings(_env_file=None, **variables)  # type: ignore[arg-type]


async def look_up(statement: str, parameters: Any) -> dict[str, Any] | None:
    for name, scopes in TOKENS.items():
        if digest_of(name) == parameters[0]:
            return {"name": name, "scopes": scopes}
    return None


@pytest.fixture(scope="module")
def app() -> FastAPI:
    return create_app(settings(max_body_bytes=4096))


@pytest.fixture(scope="module")
def client(app: FastAPI) -> Iterator[TestClient]:
    with TestClient(app, raise_server_exceptions=False) as made:
        app.state.service.tokens._look_up = look_up
        made.headers["Authorization"] = "Bearer reader"
        yield made
