"""The service on a real database, with a Dagster that only seems to be one."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import pandas as pd
import psycopg
import pytest
import uvicorn
from fastapi import FastAPI

from forecast_service.app import create_app
from forecast_service.scenarios import plans
from forecast_service.settings import Settings
from forecast_service.tokens import digest_of, new_token
from warehouse.service import tokens as token_statements

TOKENS = {
    "reader": ["read"],
    "planner": ["read", "plan"],
    "trainer": ["read", "train"],
    "everything": ["read", "plan", "train"],
    "operator": ["read", "operate"],
}


@dataclass
class FakeDagster:
    """Dagster's GraphQL, as far as the service uses it."""

    runs: list[dict[str, Any]] = field(default_factory=list)
    away: bool = False
    #: How long its daemon has been silent.
    silent_seconds: float = 0.0

    def __call__(self, request: httpx.Request) -> httpx.Response:
        if self.away:
            raise httpx.ConnectError("refused")
        asked = json.loads(request.content)
        variables = asked.get("variables", {})
        if "launchRun" in asked["query"]:
            tags = variables["params"]["executionMetadata"]["tags"]
            self.runs.insert(
                0,
                {
                    "runId": f"run-{len(self.runs)}",
                    "jobName": variables["params"]["selector"]["jobName"],
                    "status": "QUEUED",
                    "creationTime": time.time(),
                    "startTime": None,
                    "endTime": None,
                    "tags": tags,
                },
            )
            time.sleep(0.05)
            data: dict[str, Any] = {
                "launchRun": {"__typename": "LaunchRunSuccess", "run": self.runs[0]}
            }
        elif "runsOrError" in asked["query"]:
            matches = [run for run in self.runs if self._matches(run, variables["filter"])]
            data = {"runsOrError": {"__typename": "Runs", "results": matches}}
        else:
            beat = {"required": True, "lastHeartbeatTime": time.time() - self.silent_seconds}
            data = {"instance": {"daemonHealth": {"allDaemonStatuses": [beat]}}}
        return httpx.Response(200, json={"data": data})

    @staticmethod
    def _matches(run: dict[str, Any], wanted: dict[str, Any]) -> bool:
        return (
            wanted.get("pipelineName", run["jobName"]) == run["jobName"]
            and run["status"] in wanted.get("statuses", [run["status"]])
            and run["runId"] in wanted.get("runIds", [run["runId"]])
            and all(tag in run["tags"] for tag in wanted.get("tags", []))
        )


@dataclass
class Service:
    """A running service."""

    urls: dict[str, str]
    address: str
    tokens: dict[str, str]
    dagster: FakeDagster
    sent: list[pd.DataFrame]
    app: FastAPI

    def client(self, name: str = "reader") -> httpx.Client:
        headers = {"Authorization": f"Bearer {self.tokens[name]}"} if name else {}
        return httpx.Client(base_url=self.address, headers=headers, trust_env=False, timeout=30)

    def frame(self, query: str) -> pd.DataFrame:
        with psycopg.connect(self.urls["READER_DATABASE_URL"]) as connection:
            cursor = connection.execute(query.encode())
            assert cursor.description is not None
            return pd.DataFrame(cursor.fetchall(), columns=[c.name for c in cursor.description])


@contextmanager
def serving(app: Any) -> Iterator[str]:
    """Serve an application in a thread, as `python -m forecast_service serve` does."""
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None, access_log=False))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    deadline = time.monotonic() + 20
    while not server.started and time.monotonic() < deadline:
        time.sleep(0.02)
    assert server.started
    port = server.servers[0].sockets[0].getsockname()[1]
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    thread.join(10)


@contextmanager
def service_on(urls: dict[str, str], **changes: str) -> Iterator[Service]:
    """Serve a sales database, with a token for each of `TOKENS`.

    Args:
        urls: The addresses of the database.
        changes: Further settings of the service.
    """
    made = {client: new_token() for client in TOKENS}
    with psycopg.connect(urls["OWNER_DATABASE_URL"], cursor_factory=psycopg.RawCursor) as owner:
        for client, scopes in TOKENS.items():
            owner.execute(token_statements.CREATE, (client, digest_of(made[client]), scopes))
    settings = Settings(
        _env_file=None,
        READER_DATABASE_URL=urls["READER_DATABASE_URL"],
        PLANNER_DATABASE_URL=urls["PLANNER_DATABASE_URL"],
        DAGSTER_WEBSERVER_URL="http://dagster",
        KAFKA_BOOTSTRAP_SERVERS="nowhere:1",
        FORECAST_MAX_OPEN_MINUTES=1e6,
        SERVICE_POOL_WAIT_SECONDS=1,
        **changes,
    )  # type: ignore[call-arg]
    sent: list[pd.DataFrame] = []
    app, dagster = create_app(settings), FakeDagster()
    with pytest.MonkeyPatch.context() as patch, serving(app) as address:
        patch.setattr(plans, "produce", lambda events, **_: sent.append(events))
        client = httpx.AsyncClient(transport=httpx.MockTransport(dagster))
        app.state.service.dagster._client = client
        yield Service(urls, address, made, dagster, sent, app)
