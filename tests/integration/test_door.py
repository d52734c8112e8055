"""One door with TLS and a login: nginx in front of the real service, Dagster and MLflow.

Grafana is not among Debian's packages; a server that notes what reaches it takes its place.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import re
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest
import websockets
from playwright.sync_api import Browser, expect
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from local_stack import http, network
from local_stack.stack import Stack
from tests.support.browser import TIMEOUT
from tests.support.databases import copied_database
from tests.support.door import Door, opened, require_nginx
from tests.support.service import Service, service_on, serving

DAGSTER_TOKEN = "dagsters-own-secret-of-the-test"
MLFLOW_TOKEN = "mlflows-own-secret-of-the-test"
GRAFANA_PASSWORD = "grafanas-own-secret-of-the-test"
GRAFANA_LOGIN = base64.b64encode(f"admin:{GRAFANA_PASSWORD}".encode()).decode()
START_SECONDS = 240.0
#: What leads to the operators' servers.
OPERATED = ("/dagster/", "/mlflow/", "/grafana/")
PAGE = {"Accept": "text/html,application/xhtml+xml"}
VERSION = {"query": "{ version }"}
#: What whoever is not signed in gets to see: the sign-in, what it looks like, and a sign of life.
OPEN = ("/sign-in", "/static/", "/health/live")


@dataclass
class Grafana:
    """What reached the place of Grafana."""

    requests: list[dict[str, str]] = field(default_factory=list)

    def app(self) -> Starlette:
        async def note(request: Request) -> Response:
            self.requests.append({"path": request.url.path, **request.headers})
            response = JSONResponse({"dashboards": request.url.path})
            response.set_cookie("grafana_session", "of-grafana")
            return response

        return Starlette(routes=[Route("/{path:path}", note, methods=["GET", "POST"])])


@dataclass
class Everything:
    """A door and what is behind it."""

    door: Door
    service: Service
    grafana: Grafana
    dagster: str
    mlflow: str

    def client(self, name: str = "", **headers: str) -> httpx.Client:
        """Return a client of the door with a token of the service's as bearer token."""
        return self.door.client(self.service.tokens.get(name, name), **headers)

    def session(self, name: str, **headers: str) -> httpx.Client:
        """The same with a session of a browser."""
        return self.door.client(cookie=self.service.tokens[name], **headers)


@contextmanager
def process(*arguments: str, folder: Path, answers: str, **variables: str) -> Iterator[None]:
    """Run one of our servers until it answers at an address, and end it with the block."""
    log = folder / f"{arguments[0].rpartition('.')[2]}.log"
    with log.open("w") as file:
        started = subprocess.Popen(
            [sys.executable, "-m", *arguments],
            stdout=file,
            stderr=subprocess.STDOUT,
            env=os.environ | variables,
        )
    try:
        deadline = time.monotonic() + START_SECONDS
        while not http.answers(answers):
            assert started.poll() is None, log.read_text()[-3000:]
            assert time.monotonic() < deadline, log.read_text()[-3000:]
            time.sleep(0.3)
        yield
    finally:
        started.terminate()
        started.wait(30)


@pytest.fixture(scope="module")
def everything(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Everything]:
    require_nginx()
    folder = tmp_path_factory.mktemp("door")
    port, dagster, mlflow = network.free_ports(3)
    (folder / "workspace.yaml").write_text("load_from: []\n")
    (folder / "home").mkdir()
    name = f"localhost:{port}"
    grafana = Grafana()
    with ExitStack() as running:
        database = running.enter_context(copied_database(stack))
        service = running.enter_context(
            service_on(stack.database_urls(database), SERVICE_PUBLIC_URL=f"https://{name}")
        )
        running.enter_context(
            process(
                "forecast_assets.servers.dagster_ui",
                f"--port={dagster}",
                "--path-prefix=/dagster",
                f"--allowed-host={name}",
                f"--workspace={folder / 'workspace.yaml'}",
                folder=folder,
                answers=http.with_token(
                    f"http://127.0.0.1:{dagster}/dagster/server_info", DAGSTER_TOKEN
                ),
                DAGSTER_HOME=str(folder / "home"),
                DAGSTER_WEBSERVER_TOKEN=DAGSTER_TOKEN,
            )
        )
        running.enter_context(
            process(
                "forecast_assets.servers.mlflow_tracking",
                f"--port={mlflow}",
                f"--allowed-host={name}",
                f"--artifacts={folder / 'artifacts'}",
                folder=folder,
                answers=http.with_token(f"http://127.0.0.1:{mlflow}/health", MLFLOW_TOKEN),
                MLFLOW_BACKEND_STORE_URI=f"sqlite:///{folder / 'mlflow.db'}",
                MLFLOW_TRACKING_TOKEN=MLFLOW_TOKEN,
            )
        )
        watched = running.enter_context(serving(grafana.app()))
        door = running.enter_context(
            opened(
                folder,
                port,
                {
                    "DOOR_SERVICE": service.address.removeprefix("http://"),
                    "DOOR_DAGSTER": f"127.0.0.1:{dagster}",
                    "DOOR_MLFLOW": f"127.0.0.1:{mlflow}",
                    "DOOR_GRAFANA": watched.removeprefix("http://"),
                    "DAGSTER_WEBSERVER_TOKEN": DAGSTER_TOKEN,
                    "MLFLOW_TRACKING_TOKEN": MLFLOW_TOKEN,
                    "GRAFANA_ADMIN_PASSWORD": GRAFANA_PASSWORD,
                },
            )
        )
        yield Everything(
            door, service, grafana, f"http://127.0.0.1:{dagster}", f"http://127.0.0.1:{mlflow}"
        )


# Who is not signed in


def _paths_of(service: Service) -> set[str]:
    """Every path of the service, with something in the place of its parameters."""
    routes = [
        route
        for entry in service.app.routes
        for route in getattr(getattr(entry, "original_router", None), "routes", [entry])
    ]
    return {re.sub(r"\{[^}]*\}", "1", route.path) for route in routes}


def test_without_a_session_every_path_is_refused_or_leads_to_the_sign_in(
    everything: Everything,
) -> None:
    paths = _paths_of(everything.service)
    assert {"/chain", "/docs", "/metrics", "/health/ready", "/openapi.json"} <= paths
    with everything.client() as nobody:
        for path in sorted(paths | {*OPERATED, "/dagster/graphql", "/nothing-here"}):
            if path.startswith(OPEN) or path == "/static":
                continue
            for headers in ({}, PAGE):
                answer = nobody.get(path, headers=headers)
                if answer.status_code == 303:
                    assert answer.headers["location"].startswith("/sign-in?next="), path
                else:
                    assert answer.status_code in (401, 404, 405), path
        assert nobody.get("/sign-in").status_code == 200
        assert nobody.get("/static/layout.css").status_code == 200
        assert nobody.get("/health/live").json() == {"status": "ok"}


@pytest.mark.parametrize("path", OPERATED)
def test_a_browser_without_a_session_goes_to_the_sign_in_and_comes_back(
    everything: Everything, path: str
) -> None:
    with everything.client() as nobody:
        asked = f"{path}runs?view=a&token=x#y"
        answer = nobody.get(asked, headers=PAGE)
        assert answer.status_code == 303
        assert answer.headers["location"] == (
            f"/sign-in?next={path.replace('/', '%2F')}runs%3Fview%3Da%26token%3Dx"
        )
        # A program is told, by a problem document.
        answer = nobody.get(path)
        assert (answer.status_code, answer.json()["status"]) == (401, 401)
        assert answer.headers["www-authenticate"] == "Bearer"
        assert nobody.post(f"{path}graphql", json=VERSION, headers=PAGE).status_code == 401


@pytest.mark.parametrize(
    "address", ["//evil.example/", "https://evil.example/", "/\\evil.example", "javascript:0"]
)
def test_the_sign_in_leads_to_no_other_site(everything: Everything, address: str) -> None:
    with everything.client(Origin=everything.door.address) as nobody:
        answer = nobody.post(
            "/sign-in", data={"token": everything.service.tokens["operator"], "next": address}
        )
        assert (answer.status_code, answer.headers["location"]) == (303, "/")


def test_a_session_that_begins_at_the_door_stays_on_tls(everything: Everything) -> None:
    with everything.client(Origin=everything.door.address) as nobody:
        answer = nobody.post(
            "/sign-in", data={"token": everything.service.tokens["operator"], "next": "/dagster/"}
        )
        assert answer.headers["location"] == "/dagster/"
        (cookie,) = answer.headers.get_list("set-cookie")
        parts = {part.strip().lower() for part in cookie.split(";")[1:]}
        assert {"secure", "httponly", "samesite=strict", "path=/"} <= parts
        assert nobody.get("/dagster/", headers=PAGE).status_code == 200


# Who is signed in and may not operate


@pytest.mark.parametrize("name", ["reader", "planner", "trainer"])
@pytest.mark.parametrize("path", OPERATED)
def test_whoever_may_not_operate_reaches_none_of_the_operators_servers(
    everything: Everything, path: str, name: str
) -> None:
    before = len(everything.grafana.requests)
    for client in (everything.client(name), everything.session(name)):
        with client:
            answer = client.get(path)
            assert answer.status_code == 403
            assert f"the token '{name}' lacks the scope 'operate'" in answer.json()["detail"]
            page = client.get(path, headers=PAGE)
            assert page.status_code == 403
            assert "lacks the scope" in page.text
            assert page.headers["content-type"] == "text/html; charset=utf-8"
            for method in ("POST", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD"):
                assert client.request(method, f"{path}graphql").status_code == 403, method
    assert len(everything.grafana.requests) == before


def test_a_reader_reads(everything: Everything) -> None:
    for client in (everything.client("reader"), everything.session("reader")):
        with client:
            assert client.get("/openapi.json").json()["info"]["title"] == "Sales forecasts"
            assert client.get("/v1/worklist", params={"limit": 1}).status_code in (200, 404)
            assert client.get("/stores", headers=PAGE).status_code in (200, 404)


#: Paths that nginx and the servers behind could read differently.
TRICKS = [
    "/dagster/../dagster/graphql", "//dagster//", "/dagster/%2e%2e/mlflow/", "/%64agster/",
    "/dagster%2f", "/dagster%2fgraphql", "/x/..%2fdagster/", "/x/../grafana/", "/./mlflow/",
    "/mlflow/..;/", "/mlflow/%2e%2e/grafana/", "/mlflow//api/2.0/mlflow/experiments/search",
    "/static/../mlflow/", "/static/..%2f..%2fgrafana/", "/sign-in/../grafana/",
    "/health/live/../../grafana/", "/health/live%2f..%2f..%2fmlflow/", "/Dagster/", "/MLFLOW/",
    "/door/may/operate", "//door/may/operate", "/./door/refused/operate", "/door%2fmay/operate",
    "/metrics", "/./metrics", "/metrics/", "/%6detrics", "/health/ready", "/health%2fready",
    "/grafana", "/grafana%00", "/grafana/%0d%0aX:%20y", "/dagster\\..\\", "https://evil.example/dagster/",
]  # fmt: skip


@pytest.mark.parametrize("name", ["", "reader"])
@pytest.mark.parametrize("path", TRICKS)
def test_no_spelling_of_a_path_leads_behind_the_login(
    everything: Everything, path: str, name: str
) -> None:
    before = len(everything.grafana.requests)
    token = everything.service.tokens.get(name)
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    for accept in ({}, PAGE):
        status, got, body = everything.door.raw(path, headers | accept)
        assert status in (303, 307, 308, 400, 401, 403, 404, 421), (path, body[:200])
        if status in (303, 307, 308):
            assert got["location"].startswith(("/sign-in?next=", "/grafana/", "/metrics")), path
        assert "dashboards" not in body
    assert len(everything.grafana.requests) == before


@pytest.mark.parametrize("name", ["", "reader"])
@pytest.mark.parametrize(
    "forged",
    [
        {"X-Forwarded-User": "admin", "X-WEBAUTH-USER": "admin", "Remote-User": "admin"},
        {"X-Client-Name": "operator", "X-Operator": "operator", "X-Scopes": "operate"},
        {"X-Original-URI": "/sign-in", "X-Original-Method": "GET", "X-Rewrite-URL": "/sign-in"},
        {"X-Accel-Redirect": "/dagster/", "X-Sendfile": "/etc/passwd"},
        {"X-Forwarded-For": "127.0.0.1", "Forwarded": "for=127.0.0.1;proto=https"},
        {"Connection": "Authorization, Cookie, X-Original-Method"},
        {"Cookie": f"dagster-session={DAGSTER_TOKEN}; mlflow-session={MLFLOW_TOKEN}"},
        {"Authorization": f"Bearer {DAGSTER_TOKEN}"},
        {"Authorization": f"Bearer {MLFLOW_TOKEN}"},
        {"Authorization": f"Basic {GRAFANA_LOGIN}"},
    ],
)
def test_forged_headers_have_no_effect(
    everything: Everything, forged: dict[str, str], name: str
) -> None:
    before = len(everything.grafana.requests)
    with everything.client(name) as client:
        for path in OPERATED:
            expected = 403 if name and "Authorization" not in forged else 401
            assert client.get(path, headers=forged).status_code == expected, path
        assert client.get(f"/dagster/?token={DAGSTER_TOKEN}").status_code in (401, 403)
    assert len(everything.grafana.requests) == before


# Operators


def test_an_operator_reaches_everything_by_one_sign_in(everything: Everything) -> None:
    for client in (everything.client("operator"), everything.session("operator")):
        with client:
            page = client.get("/dagster/", headers=PAGE)
            assert page.status_code == 200
            assert '"pathPrefix": "/dagster"' in page.text
            answer = client.post(
                "/dagster/graphql", json=VERSION, headers={"Origin": everything.door.address}
            )
            assert answer.json()["data"]["version"]
            page = client.get("/mlflow/", headers=PAGE)
            assert (page.status_code, "MLflow" in page.text) == (200, True)
            assert client.get("/grafana/d/promise?x=1").json() == {
                "dashboards": "/grafana/d/promise"
            }


def test_grafana_gets_its_own_login_and_nothing_of_the_session(everything: Everything) -> None:
    forged = {
        "X-Forwarded-User": "somebody",
        "X-WEBAUTH-USER": "somebody",
        "X-Forwarded-For": "10.9.8.7",
        "X-Original-Method": "DELETE",
    }
    with everything.session("operator", **forged) as client:
        answer = client.get("/grafana/api/user")
        assert answer.status_code == 200
        assert "set-cookie" not in answer.headers
    got = everything.grafana.requests[-1]
    assert got["authorization"] == f"Basic {GRAFANA_LOGIN}"
    assert got["host"] == everything.door.host
    assert got["x-forwarded-proto"] == "https"
    assert got["x-forwarded-for"] == "127.0.0.1"
    assert not {"cookie", "x-forwarded-user", "x-webauth-user", "x-original-method"} & got.keys()


def test_mlflows_client_works_through_the_door(everything: Everything, tmp_path: Path) -> None:
    """With a token of the service's, and with the authority that it is told."""
    code = """
import mlflow, sys
client = mlflow.MlflowClient()
run = client.create_run(client.create_experiment("through the door"))
client.log_metric(run.info.run_id, "wape", 0.1)
open("note.txt", "w").write("x" * 3_000_000)
client.log_artifact(run.info.run_id, "note.txt")
print([item.path for item in client.list_artifacts(run.info.run_id)])
"""
    answer = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=os.environ
        | {
            "MLFLOW_TRACKING_URI": f"{everything.door.address}/mlflow",
            "MLFLOW_TRACKING_TOKEN": everything.service.tokens["operator"],
            "REQUESTS_CA_BUNDLE": str(everything.door.authority),
            "NO_PROXY": "localhost",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.stdout.strip().endswith("['note.txt']"), answer.stderr[-2000:]


def test_other_sites_cannot_use_an_operators_session(everything: Everything) -> None:
    before = len(everything.grafana.requests)
    mutation = {"query": 'mutation { deletePipelineRun(runId: "x") { __typename } }'}
    for foreign in (
        {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"},
        {"Origin": "http://localhost:9999", "Sec-Fetch-Site": "same-site"},
        {"Origin": "null"},
        {},
    ):
        with everything.session("operator", **foreign) as client:
            for path in ("/dagster/graphql", "/mlflow/api/2.0/mlflow/runs/delete", "/grafana/api"):
                assert client.post(path, json=mutation).status_code == 403, (path, foreign)
    # By a GET, GraphQL executes nothing, whoever asks.
    with everything.session("operator") as client:
        assert client.get("/dagster/graphql", params=mutation).status_code == 405
    assert len(everything.grafana.requests) == before


async def _subscribe(everything: Everything, name: str, **headers: str) -> str:
    cookie = f"forecast-service-session={everything.service.tokens[name]}"
    async with websockets.connect(
        f"wss://{everything.door.host}/dagster/graphql",
        ssl=everything.door.tls(),
        additional_headers={"Cookie": cookie},
        subprotocols=[websockets.Subprotocol("graphql-ws")],
        proxy=None,
        **headers,  # type: ignore[arg-type]
    ) as socket:
        await socket.send(json.dumps({"type": "connection_init", "payload": {}}))
        return str(json.loads(await asyncio.wait_for(socket.recv(), 30))["type"])


def test_dagsters_websocket_works_for_operators_of_its_own_pages(everything: Everything) -> None:
    own = everything.door.address
    assert asyncio.run(_subscribe(everything, "operator", origin=own)) == "connection_ack"
    for name, origin in (("operator", "https://evil.example"), ("reader", own)):
        with pytest.raises(websockets.InvalidStatus) as refused:
            asyncio.run(_subscribe(everything, name, origin=origin))
        assert refused.value.response.status_code == 403


def test_dagster_and_mlflow_load_in_a_browser(everything: Everything, browser: Browser) -> None:
    context = browser.new_context(ignore_https_errors=True, base_url=everything.door.address)
    context.set_default_timeout(3 * TIMEOUT)
    page = context.new_page()
    failed: list[str] = []
    page.on(
        "response",
        lambda answer: (
            failed.append(f"{answer.status} {answer.url}") if answer.status >= 400 else None
        ),
    )
    with page.expect_websocket(
        lambda socket: socket.url == f"wss://{everything.door.host}/dagster/graphql",
        timeout=3 * TIMEOUT,
    ):
        page.goto(f"/sign-in?next=/dagster/runs#{everything.service.tokens['operator']}")
    page.wait_for_url("**/dagster/runs*")
    expect(page.get_by_text("Runs", exact=True).first).to_be_visible(timeout=3 * TIMEOUT)
    page.goto("/mlflow/")
    expect(page.get_by_text("Experiments").first).to_be_visible(timeout=3 * TIMEOUT)
    context.close()
    # MLflow's own page asks for this, which only its own login has.
    assert [line for line in failed if not line.endswith("/mlflow/users/current")] == []


# TLS


def test_plain_http_is_refused(everything: Everything) -> None:
    answer = httpx.get(f"http://localhost:{everything.door.port}/sign-in", trust_env=False)
    assert answer.status_code == 400
    assert "HTTPS" in answer.text


@pytest.mark.parametrize(
    ("version", "works"),
    [
        (ssl.TLSVersion.TLSv1, False),
        (ssl.TLSVersion.TLSv1_1, False),
        (ssl.TLSVersion.TLSv1_2, True),
        (ssl.TLSVersion.TLSv1_3, True),
    ],
)
def test_old_tls_is_refused(everything: Everything, version: ssl.TLSVersion, works: bool) -> None:
    context = everything.door.tls()
    # By itself, today's OpenSSL would not even try the old ones.
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = ssl.TLSVersion.TLSv1
    context.maximum_version = version
    if version >= ssl.TLSVersion.TLSv1_2:
        context.minimum_version = version
    try:
        answer = httpx.get(
            f"{everything.door.address}/health/live", verify=context, trust_env=False
        )
    except httpx.ConnectError as error:
        assert not works, error
        assert "alert protocol version" in str(error)
    else:
        assert (works, answer.status_code) == (True, 200)


def test_another_name_is_not_served(everything: Everything) -> None:
    with everything.client("operator") as client:
        for host in ("evil.example", "localhost", f"localhost:{everything.door.port}.evil", ""):
            answer = client.get("/dagster/", headers={"Host": host})
            assert answer.status_code in (400, 421), host


def test_bodies_have_a_bound(everything: Everything) -> None:
    with everything.client("operator") as client:
        assert client.post("/v1/scenarios", content=b"x" * 1_100_000).status_code == 413
        assert client.post("/dagster/graphql", content=b"x" * 4_300_000).status_code == 413


# At the end: what all of this has left behind


def test_the_servers_secrets_are_in_no_answer_and_no_log(everything: Everything) -> None:
    assert len(everything.door.answers) > 100
    said = [*everything.door.answers, everything.door.log.read_text()]
    for secret in (DAGSTER_TOKEN, MLFLOW_TOKEN, GRAFANA_PASSWORD, GRAFANA_LOGIN):
        assert not [text for text in said if secret in text]
    for name, token in everything.service.tokens.items():
        assert token not in everything.door.log.read_text(), name


def test_the_log_names_who_operated(everything: Everything) -> None:
    lines = [
        json.loads(line)
        for line in everything.door.log.read_text().splitlines()
        if line.startswith("{")
    ]
    operated = [line for line in lines if line["path"] == "/dagster/graphql"]
    assert {line["client"] for line in operated if line["status"] == 200} == {"operator"}
    refused = [line for line in operated if line["status"] in (401, 403)]
    assert {line["method"] for line in refused} >= {"POST", "DELETE"}


def test_guessing_at_the_sign_in_is_slowed_down(everything: Everything) -> None:
    """The last test: afterwards, nobody signs in from here for half a minute."""
    with everything.client(Origin=everything.door.address) as nobody:
        statuses = [
            nobody.post("/sign-in", data={"token": f"guess-{number}"}).status_code
            for number in range(30)
        ]
        assert set(statuses) == {401, 429}
        assert statuses.count(429) > 10
        assert nobody.get("/sign-in").status_code == 200
