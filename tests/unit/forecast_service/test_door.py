"""What a proxy is told about a request, and what changes behind one."""

from types import SimpleNamespace
from typing import Any

import pytest
from fastapi.testclient import TestClient

from forecast_service.app import create_app
from forecast_service.sessions import COOKIE
from forecast_service.traces.service import _links
from tests.unit.forecast_service.conftest import look_up, settings

PAGE = {"Accept": "text/html,application/xhtml+xml"}
OWN = {"Origin": "https://forecasts.example.com", "Host": "forecasts.example.com"}
FOREIGN = OWN | {"Origin": "https://evil.example"}


def ask(client: TestClient, path: str, token: str = "", **headers: str) -> Any:
    """Ask as nginx does, about a request with a session."""
    del client.headers["Authorization"]
    if token:
        headers["Cookie"] = f"{COOKIE}={token}"
    try:
        return client.get(f"/door/{path}", headers=headers, follow_redirects=False)
    finally:
        client.headers["Authorization"] = "Bearer reader"


@pytest.mark.parametrize(
    ("token", "scope", "status"),
    [
        ("operator", "operate", 204),
        ("operator", "read", 204),
        ("reader", "read", 204),
        ("reader", "operate", 403),
        ("planner", "operate", 403),
        ("trainer", "operate", 403),
        ("nobody", "operate", 401),
        ("", "read", 401),
    ],
)
def test_who_may_pass(client: TestClient, token: str, scope: str, status: int) -> None:
    answer = ask(client, f"may/{scope}", token)
    assert answer.status_code == status
    assert answer.headers.get("x-client-name") == (token if status == 204 else None)
    bearer = client.get(f"/door/may/{scope}", headers={"Authorization": f"Bearer {token}"})
    assert bearer.status_code == status


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        ({"X-Original-Method": "POST"} | OWN, 204),
        ({"X-Original-Method": "POST"} | FOREIGN, 403),
        ({"X-Original-Method": "POST"}, 403),
        ({"X-Original-Method": "PROPFIND"} | FOREIGN, 403),
        ({"X-Original-Method": "GET"} | FOREIGN, 204),
        # A WebSocket begins with a GET.
        ({"X-Original-Method": "GET", "X-Original-Upgrade": "websocket"} | OWN, 204),
        ({"X-Original-Method": "GET", "X-Original-Upgrade": "websocket"} | FOREIGN, 403),
        ({"X-Original-Method": "GET", "X-Original-Upgrade": "websocket"}, 403),
    ],
)
def test_other_sites_change_nothing_in_a_sessions_name(
    client: TestClient, request_: dict[str, str], status: int
) -> None:
    assert ask(client, "may/operate", "operator", **request_).status_code == status


def test_a_refusal_is_a_page_for_a_browser_and_a_problem_for_a_program(client: TestClient) -> None:
    address = {"X-Original-URI": "/dagster/runs?a=b&c=d"}
    answer = ask(client, "refused/operate", **PAGE, **address)
    assert answer.status_code == 303
    assert answer.headers["location"] == "/sign-in?next=%2Fdagster%2Fruns%3Fa%3Db%26c%3Dd"
    answer = ask(client, "refused/operate", **PAGE, **address, **{"X-Original-Method": "POST"})
    assert (answer.status_code, answer.json()["status"]) == (401, 401)
    answer = ask(client, "refused/operate", **address)
    assert answer.headers["content-type"] == "application/problem+json"
    answer = ask(client, "refused/operate", "reader", **address)
    assert (answer.status_code, "'operate'" in answer.json()["detail"]) == (403, True)
    # Whoever has just got the scope asks once more.
    assert ask(client, "refused/operate", "operator", **PAGE, **address).status_code == 503


def test_a_scope_that_is_none_lets_nobody_pass(client: TestClient) -> None:
    assert ask(client, "may/everything", "operator").status_code == 422


@pytest.mark.parametrize(
    ("public_url", "secure"),
    [
        ("https://forecasts.example.com", True),
        ("http://forecasts.example.com", False),
        (None, False),
    ],
)
def test_behind_a_proxy_with_tls_the_cookie_stays_on_it_whatever_headers_say(
    public_url: str | None, secure: bool
) -> None:
    app = create_app(settings(public_url=public_url))
    with TestClient(app, base_url="http://forecasts.example.com") as client:
        app.state.service.tokens._look_up = look_up
        for path, form in (("/sign-in", {"token": "reader"}), ("/sign-out", {})):
            answer = client.post(
                path,
                data=form,
                headers={"Origin": "http://forecasts.example.com", "X-Forwarded-Proto": "https"},
                follow_redirects=False,
            )
            assert answer.status_code == 303
            assert ("secure" in answer.headers["set-cookie"].lower()) == secure


@pytest.mark.parametrize(
    "address", ["forecasts.example.com", "https://", "https://a/path", "ftp://a", "https://u@a"]
)
def test_a_public_url_has_no_path_and_no_user(address: str) -> None:
    with pytest.raises(ValueError, match="SERVICE_PUBLIC_URL"):
        settings(public_url=address)


def test_links_lead_to_where_browsers_reach_dagster_and_mlflow() -> None:
    def links(**changes: str) -> dict[str, str]:
        own = settings(mlflow_url="http://mlflow:5000", **changes)
        state = SimpleNamespace(
            settings=own, dagster=SimpleNamespace(url="http://dagster-webserver:3000")
        )
        return _links(state, {"refresh_id": "r1"}, "m1")  # type: ignore[arg-type]

    assert links() == {
        "dagster_run": "http://dagster-webserver:3000/runs/r1",
        "mlflow_run": "http://mlflow:5000/#/runs/m1",
    }
    door = "https://forecasts.example.com"
    assert links(dagster_public_url=f"{door}/dagster/", mlflow_public_url=f"{door}/mlflow") == {
        "dagster_run": f"{door}/dagster/runs/r1",
        "mlflow_run": f"{door}/mlflow/#/runs/m1",
    }
