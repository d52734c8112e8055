"""Problems, tokens, limits, telemetry: what holds for every endpoint, without a database."""

from __future__ import annotations

import json
import logging

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from pydantic import ValidationError

from forecast_service.app import create_app
from forecast_service.telemetry import JsonLines
from tests.unit.forecast_service.conftest import settings

AS_PLANNER = {"Authorization": "Bearer planner"}


def problem(answer, status: int) -> dict:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    content = answer.json()
    assert content["status"] == status
    assert content["request_id"] == answer.headers["x-request-id"]
    assert "Traceback" not in answer.text
    assert "planted-password" not in answer.text
    return content


@pytest.mark.parametrize(
    ("query", "field", "bounds"),
    [
        ("store=0", "query.store.0", {"ge": 1}),
        ("store=2147483648", "query.store.0", {"le": 2147483647}),
        ("store=1%00", "query.store.0", {}),
        ("store=1&from=1434672000", "query.from", {}),
        ("store=1&from=0001-01-01", "query.from", {"ge": "1990-01-01"}),
        ("store=1&limit=10001", "query.limit", {"le": 10000}),
        ("store=1&from=2015-06-19&to=2015-06-18", "query.to", {"ge": "2015-06-19"}),
        ("store=1&format=docx", "query.format", {}),
        ("store=1&cursor=WyJ4Il0", "query.cursor", {}),
        ("store=1&cursor=%21", "query.cursor", {}),
        ("stores=1", "query.stores", {}),
    ],
)
def test_an_invalid_request_names_field_and_bound(
    client: TestClient, query: str, field: str, bounds: dict, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = problem(client.get(f"/v1/history?{query}"), 422)
    (error,) = content["errors"]
    assert error["field"] == field
    assert error["bounds"].items() >= bounds.items()


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/v1/nothing", 404), ("DELETE", "/v1/forecasts", 405), ("GET", "/%00", 404)],
)
def test_unknown_paths_and_methods_are_problems(
    client: TestClient, method: str, path: str, status: int
) -> None:
    problem(client.request(method, path), status)


def test_a_browser_gets_a_page_of_what_is_not_there(client: TestClient) -> None:
    answer = client.get("/nope", headers={"Accept": "text/html,*/*;q=0.8"})
    assert answer.status_code == 404
    assert answer.headers["content-type"].startswith("text/html")
    assert "There is no such page" in answer.text
    problem(client.get("/nope", headers={"Accept": "*/*"}), 404)
    problem(client.post("/nope", headers={"Accept": "text/html"}), 404)


def test_a_wrong_method_is_told_all_right_ones(client: TestClient) -> None:
    answer = client.delete("/v1/adjustments")
    problem(answer, 405)
    assert answer.headers["allow"] == "GET, POST"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Authorization": ""}, 401),
        ({"Authorization": "Bearer nobody"}, 401),
        ({"Authorization": "Bearer " + "x" * 300}, 401),
        ({"Authorization": "Basic cmVhZGVy"}, 401),
        ({}, 403),
    ],
)
def test_a_token_must_be_valid_and_have_the_scope(
    client: TestClient, headers: dict[str, str], status: int
) -> None:
    answer = client.post("/v1/stores/1/retrain", headers=headers)
    problem(answer, status)
    assert answer.headers["www-authenticate"].startswith("Bearer")


def test_every_endpoint_but_liveness_and_docs_asks_for_a_token(app: FastAPI) -> None:
    open_paths = {
        path
        for path, methods in app.openapi()["paths"].items()
        for operation in methods.values()
        if not operation.get("security")
    }
    assert open_paths == {"/health", "/health/live", "/health/ready"}


def test_what_needs_more_than_reading_says_so(client: TestClient, app: FastAPI) -> None:
    written = 0
    for path, methods in app.openapi()["paths"].items():
        if "post" in methods and path not in ("/forecast", "/v1/scenarios"):
            written += 1
            address = path.replace("{adjustment_id}", "0b0f3a4e-59f7-4f6e-8f7e-0d2c3d8f9a10")
            for name in ("store", "store_id", "product_name"):
                address = address.replace("{" + name + "}", "1")
            body = {"store": 1, "date": "2015-06-19", "text": "x"}
            assert client.post(address, json=body).status_code in (403, 422), path
    assert written == 8


def test_without_a_database_answers_are_503_and_say_when_to_try_again(client: TestClient) -> None:
    for path in (
        "/v1/forecasts?store=1",
        "/v1/stores",
        "/v1/traces?store=1",
        "/v1/adjustments",
        "/v1/totals",
        "/v1/worklist",
    ):
        answer = client.get(path)
        problem(answer, 503)
        assert int(answer.headers["retry-after"]) > 0
    assert client.get("/health/live").status_code == 200
    ready = client.get("/health/ready")
    assert ready.status_code == 503
    assert ready.json()["checks"]["database"] == "does not answer"
    assert client.get("/health").json()["serviceStatus"] == "unavailable"


def test_a_long_body_is_refused(client: TestClient) -> None:
    long = json.dumps({"changes": [{"x": "y" * 5000}]})
    problem(client.post("/v1/scenarios", content=long), 413)
    in_chunks = client.post("/v1/scenarios", content=iter([b"[" * 3000, b"[" * 3000]))
    problem(in_chunks, 413)


@pytest.mark.parametrize(
    "body",
    [
        b"{", b"null", b'{"changes": []}', b'{"changes": [{"store": 1}]}',
        b'{"changes": [{"store": 1, "first_day": "2015-06-19"}]}',
        b'{"changes": [{"store": 1, "first_day": "2015-06-19", "promo": 2}]}',
        b'{"changes": [{"store": 1.5, "first_day": "2015-06-19", "promo": 1}]}',
        b'{"changes": [{"store": 1, "first_day": "2015-06-19", "promo": 1, "prize": 3}]}',
        b'{"changes": [{"store": 1, "first_day": "2015-06-19", "last_day": "2015-06-18",'
        b' "promo": 1}]}',
    ],
)  # fmt: skip
def test_a_bad_plan_is_refused(client: TestClient, body: bytes) -> None:
    content = problem(
        client.post("/v1/scenarios", content=body, headers={"Content-Type": "application/json"}),
        422,
    )
    assert content["errors"]


@pytest.mark.parametrize(
    "change",
    [
        {}, {"value": 1, "percent": 1}, {"value": -1}, {"percent": -101}, {"percent": 1e9},
        {"value": 1, "note": "a\x00b"}, {"value": 1, "author": "a\nb"}, {"value": 1, "author": " "},
        {"value": 1, "reason": "whim"}, {"value": 1, "expires_at": "2030-01-01T00:00:00"},
        {"value": 1, "last_day": "2030-01-01"}, {"value": 1, "made_at": "2015-01-01T00:00:00Z"},
    ],
)  # fmt: skip
def test_a_bad_adjustment_is_refused(client: TestClient, change: dict) -> None:
    body = {"store": 1, "first_day": "2015-06-19", "reason": "event"} | change
    assert problem(client.post("/v1/adjustments", json=body, headers=AS_PLANNER), 422)["errors"]


def test_a_problem_is_in_our_own_words(client: TestClient) -> None:
    body = {"store": 1, "first_day": "2015-06-19", "last_day": "2015-06-18", "reason": "event"}
    content = problem(
        client.post("/v1/adjustments", json=body | {"value": 1}, headers=AS_PLANNER), 422
    )
    assert content["detail"] == "body: last_day must be 0 to 366 days after first_day"
    assert content["errors"][0]["message"] == "last_day must be 0 to 366 days after first_day"


def test_a_body_nested_too_deeply_is_refused(client: TestClient) -> None:
    headers = {"Content-Type": "application/json"}
    problem(client.post("/v1/scenarios", content=b"[" * 2000, headers=headers), 400)


def test_numbers_that_are_none_are_refused(client: TestClient) -> None:
    body = b'{"store": 1, "first_day": "2015-06-19", "reason": "event", "value": NaN}'
    problem(client.post("/v1/adjustments", content=body, headers=AS_PLANNER), 422)


def test_requests_are_named_logged_and_counted_by_route(
    client: TestClient, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, logger="forecast_service"):
        named = client.post("/v1/stores/17/retrain", headers={"X-Request-ID": "mine-1"})
        forged = client.get("/v1/nothing", headers={"X-Request-ID": "a b\tc"})
    assert named.headers["x-request-id"] == "mine-1"
    assert forged.headers["x-request-id"] != "a b\tc"
    lines = [
        json.loads(JsonLines().format(record))
        for record in caplog.records
        if record.getMessage() == "request"
    ]
    assert lines[0]["request_id"] == "mine-1"
    assert lines[0]["route"] == "/v1/stores/{store}/retrain"
    assert lines[0]["status"] == 403
    assert lines[0]["client"] == "reader"
    assert "Bearer" not in json.dumps(lines)
    text = client.get("/metrics").text
    assert 'route="/v1/stores/{store}/retrain",status="403"' in text
    assert "/17/" not in text
    assert "nothing" not in text


def test_prometheus_needs_its_own_token_and_no_database() -> None:
    token = "token-of-prometheus"
    # Its look-up of clients' tokens fails, as without a database.
    with TestClient(
        create_app(settings(metrics_token=token)), raise_server_exceptions=False
    ) as own:
        bearer = {"Authorization": f"Bearer {token}"}
        assert own.get("/metrics", headers=bearer).status_code == 200
        assert own.get("/metrics", headers={"Authorization": "Bearer another"}).status_code == 503
        assert own.get("/v1/stores", headers=bearer).status_code == 503
    with pytest.raises(ValidationError, match="METRICS_TOKEN"):
        settings(metrics_token="short")


def test_docs_load_nothing_from_elsewhere(client: TestClient) -> None:
    page = client.get("/docs").text
    assert "swagger-ui-bundle.js" in page
    assert "https://" not in page
    assert client.get("/static-offline-docs/swagger-ui-bundle.js").status_code == 200


def test_too_many_requests_are_told_when_to_come_back(app: FastAPI, client: TestClient) -> None:
    limits = app.middleware_stack
    while type(limits).__name__ != "Limits":
        limits = getattr(limits, "app", None) or limits._app  # type: ignore[union-attr]
    limits._running = limits._max_requests
    try:
        answer = client.get("/v1/stores")
        problem(answer, 429)
        assert answer.headers["retry-after"] == "1"
        assert client.get("/health/live").status_code == 200
    finally:
        limits._running = 0
    assert client.get("/v1/stores").status_code == 503
