"""Whose requests the gate lets in: other sites, other names, other users, and the owner."""

import base64
import re
from collections.abc import Iterator

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocket, WebSocketDisconnect

from forecast_assets.servers.gate import Gate, allowed_hosts, sign_in_link

TOKEN = "k7Qd0xkJw1cQ5m2bP9zL4t"
ORIGIN = "http://127.0.0.1:3000"
SOCKET = "ws://127.0.0.1:3000/graphql"
BEARER = {"Authorization": f"Bearer {TOKEN}"}
#: What browsers of today say of a request that a page makes in the background.
BACKGROUND = {"Sec-Fetch-Mode": "cors", "Sec-Fetch-Dest": "empty"}
LINK = {"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
MUTATION = 'mutation { deletePipelineRun(runId: "x") { __typename } }'


async def _page(request: Request) -> PlainTextResponse:
    return PlainTextResponse(f"inside {request.url.path}")


async def _socket(websocket: WebSocket) -> None:
    await websocket.accept()
    await websocket.send_text("inside")
    await websocket.close()


@pytest.fixture
def client() -> Iterator[TestClient]:
    inside = Starlette(
        routes=[
            WebSocketRoute("/graphql", _socket),
            Route("/{path:path}", _page, methods=["GET", "POST", "PUT", "DELETE"]),
        ]
    )
    gate = Gate(
        inside,
        hosts=allowed_hosts("127.0.0.1", 3000, ()),
        token=TOKEN,
        name="dagster",
        graphql_paths=("/graphql",),
    )
    with TestClient(gate, base_url=ORIGIN, follow_redirects=False) as made:
        yield made


def test_the_owner_gets_in_by_bearer_token_and_by_password(client: TestClient) -> None:
    basic = base64.b64encode(f"anybody:{TOKEN}".encode()).decode()
    for credentials in (f"Bearer {TOKEN}", f"bearer {TOKEN}", f"Basic {basic}"):
        answer = client.get("/runs", headers={"Authorization": credentials})
        assert (answer.status_code, answer.text) == (200, "inside /runs"), credentials


@pytest.mark.parametrize(
    "credentials",
    ["", "Bearer", "Bearer ", f"Bearer {TOKEN[:-1]}", f"Bearer {TOKEN}x", "Bearer müll", "Basic",
     "Basic %%%", f"Basic {base64.b64encode(TOKEN.encode()).decode()}", TOKEN, f"Digest {TOKEN}"],
)  # fmt: skip
def test_nobody_gets_in_without_the_token(client: TestClient, credentials: str) -> None:
    for method in ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS"):
        answer = client.request(
            method, "/runs", headers={"Authorization": credentials.encode("latin-1")}
        )
        assert answer.status_code == 401, method
        assert answer.headers["www-authenticate"].startswith("Basic")
        assert "inside" not in answer.text


def test_the_sign_in_link_sets_a_cookie_that_pages_of_others_cannot_use(client: TestClient) -> None:
    link = sign_in_link(ORIGIN, TOKEN)
    answer = client.get(link, headers={"Sec-Fetch-Site": "none", **LINK})
    assert answer.status_code == 200
    (cookie,) = answer.headers.get_list("set-cookie")
    assert re.match(rf"dagster-session={TOKEN};", cookie)
    assert {"httponly", "samesite=strict"} <= {part.strip().lower() for part in cookie.split(";")}
    assert 'url=/"' in answer.text
    assert TOKEN not in answer.text
    assert client.get("/runs").text == "inside /runs"


def test_a_sign_in_link_leads_to_its_page_and_never_to_another_host(client: TestClient) -> None:
    answer = client.get(f"/assets/a%22b?view=x%26y&token={TOKEN}")
    assert 'url=/assets/a%22b?view=x%26y"' in answer.text
    answer = client.get(f"{ORIGIN}//elsewhere.example/%5C?token={TOKEN}")
    assert 'url=/elsewhere.example/%5C"' in answer.text
    client.cookies.clear()
    assert client.get(f"/?token={TOKEN}x").status_code == 401


def test_a_token_in_the_address_opens_pages_and_nothing_else(client: TestClient) -> None:
    assert client.post(f"/runs?token={TOKEN}").status_code == 401
    background = {"Sec-Fetch-Site": "same-origin", **BACKGROUND}
    assert client.get(f"/runs?token={TOKEN}", headers=background).status_code == 401


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:3000", "127.0.0.1", "127.0.0.1:3001", "localhost:5000",
     "127.0.0.1:3000.evil.example", "127.0.0.1:3000@evil.example", "[::1]:3000", ""],
)  # fmt: skip
def test_a_foreign_host_is_refused_though_signed_in(client: TestClient, host: str) -> None:
    for method in ("GET", "POST"):
        answer = client.request(method, "/runs", headers={"Host": host, **BEARER})
        assert answer.status_code == 403
        assert "127.0.0.1:3000 or localhost:3000" in answer.text


def test_two_hosts_are_refused(client: TestClient) -> None:
    headers = [("Host", "127.0.0.1:3000"), ("Host", "evil.example"), *BEARER.items()]
    assert client.get("/runs", headers=headers).status_code == 403


@pytest.mark.parametrize("host", ["127.0.0.1:3000", "localhost:3000", "LOCALHOST:3000"])
def test_its_own_names_are_let_in(client: TestClient, host: str) -> None:
    assert client.get("/runs", headers={"Host": host, **BEARER}).status_code == 200


@pytest.mark.parametrize(
    "origin",
    ["http://evil.example", "null", "http://127.0.0.1", "http://127.0.0.1:5000", "file://",
     "http://127.0.0.1:3000.evil.example", "http://localhost:3001", "chrome-extension://abc", ""],
)  # fmt: skip
def test_a_foreign_origin_is_refused_though_signed_in(client: TestClient, origin: str) -> None:
    client.get(sign_in_link(ORIGIN, TOKEN))
    for method in ("GET", "POST", "PUT", "DELETE", "OPTIONS"):
        for headers in ({"Origin": origin}, {"Origin": origin, **BEARER}):
            assert client.request(method, "/runs", headers=headers).status_code == 403, method


def test_its_own_origin_is_let_in(client: TestClient) -> None:
    for origin in (ORIGIN, "http://localhost:3000", "https://localhost:3000"):
        assert client.post("/runs", headers={"Origin": origin, **BEARER}).status_code == 200


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_pages_of_others_may_link_to_a_page_and_no_more(client: TestClient, site: str) -> None:
    client.get(sign_in_link(ORIGIN, TOKEN))
    ways = {"image": "no-cors", "iframe": "navigate", "script": "no-cors", "empty": "cors"}
    for destination, mode in ways.items():
        headers = {"Sec-Fetch-Site": site, "Sec-Fetch-Mode": mode, "Sec-Fetch-Dest": destination}
        assert client.get("/runs", headers=headers).status_code == 403, destination
    form = {"Sec-Fetch-Site": site, **LINK}
    assert client.post("/runs", headers=form).status_code == 403
    assert client.get("/runs", headers=form).status_code == 200


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE"])
def test_graphql_is_taken_by_post_alone(client: TestClient, method: str) -> None:
    for headers in (BEARER, {"Accept": "application/json", **BEARER}):
        answer = client.request(method, "/graphql", params={"query": MUTATION}, headers=headers)
        assert answer.status_code == 405
        assert answer.headers["allow"] == "POST"


def test_the_page_that_edits_queries_opens(client: TestClient) -> None:
    assert client.get("/graphql", headers={"Accept": "text/html", **BEARER}).status_code == 200


@pytest.mark.parametrize(
    "kind",
    [None, "text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x",
     "text/plain; application/json", "text/plain;charset=application/graphql"],
)  # fmt: skip
def test_graphql_is_taken_in_types_that_no_form_can_send(
    client: TestClient, kind: str | None
) -> None:
    headers = {**BEARER, **({"Content-Type": kind} if kind else {})}
    answer = client.post("/graphql", params={"query": MUTATION}, content=b"{}", headers=headers)
    assert answer.status_code == 415


def test_graphql_in_json_gets_in(client: TestClient) -> None:
    for kind in ("application/json", "application/json; charset=utf-8", "application/graphql"):
        headers = {"Content-Type": kind, "Origin": ORIGIN, **BEARER}
        assert client.post("/graphql", content=b"{}", headers=headers).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [{}, {"Origin": "http://evil.example", **BEARER}, {"Host": "evil.example:3000", **BEARER},
     {"Origin": "null", **BEARER}, {"Sec-Fetch-Site": "cross-site", **BEARER, **LINK}],
)  # fmt: skip
def test_websockets_ask_the_same(client: TestClient, headers: dict[str, str]) -> None:
    with (
        pytest.raises(WebSocketDisconnect) as refused,
        client.websocket_connect(SOCKET, headers=headers),
    ):
        pass
    assert refused.value.code == 1008


def test_the_owners_websocket_gets_in(client: TestClient) -> None:
    with client.websocket_connect(SOCKET, headers={"Origin": ORIGIN, **BEARER}) as socket:
        assert socket.receive_text() == "inside"


def test_a_gate_without_a_real_token_or_name_is_not_built() -> None:
    with pytest.raises(ValueError, match="fewer than 16 characters"):
        Gate(Starlette(), hosts=["h:1"], token="short", name="dagster")
    with pytest.raises(ValueError, match="allowed host"):
        Gate(Starlette(), hosts=[], token=TOKEN, name="dagster")


def test_hosts_are_the_loopback_names_and_those_of_the_settings() -> None:
    assert allowed_hosts("0.0.0.0", 5000, ["mlflow:5000"]) == [  # noqa: S104 - taken out
        "127.0.0.1:5000", "localhost:5000", "mlflow:5000",
    ]  # fmt: skip
