"""The sign-in, the session's cookie, and who may change something in its name."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, urlsplit

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from forecast_service.page import notices
from forecast_service.page.sign_in import own_address
from forecast_service.sessions import COOKIE

HOST = "http://testserver"
OWN = {"Origin": HOST}
RETRAIN = "/v1/stores/1/retrain"
NOW = datetime(2015, 6, 19, 12, tzinfo=UTC)


@pytest.fixture
def browser(app: FastAPI, client: TestClient) -> TestClient:
    """A client without a bearer token; its application is running already."""
    return TestClient(app, raise_server_exceptions=False, follow_redirects=False)


def sign_in(browser: TestClient, name: str = "planner", address: str = "/stores/1"):
    return browser.post("/sign-in", data={"token": name, "next": address}, headers=OWN)


def test_who_is_not_signed_in_goes_to_the_sign_in_and_comes_back(browser: TestClient) -> None:
    answer = browser.get("/?days=7")
    assert answer.status_code == 303
    there = urlsplit(answer.headers["location"])
    assert there.path == "/sign-in"
    assert parse_qs(there.query) == {"next": ["/?days=7"]}
    form = browser.get(answer.headers["location"])
    assert form.status_code == 200
    assert 'value="/?days=7"' in form.text
    signed_in = sign_in(browser, address="/?days=7")
    assert (signed_in.status_code, signed_in.headers["location"]) == (303, "/?days=7")


def test_the_session_is_a_cookie_that_no_script_and_no_other_site_gets(browser: TestClient) -> None:
    cookie = sign_in(browser).headers["set-cookie"]
    assert cookie.startswith(f"{COOKIE}=planner;")
    attributes = {part.strip().lower() for part in cookie.split(";")[1:]}
    assert attributes == {"httponly", "path=/", "samesite=strict"}


def test_over_tls_the_cookie_stays_there(app: FastAPI, client: TestClient) -> None:
    secure = TestClient(app, base_url="https://testserver", follow_redirects=False)
    answer = secure.post("/sign-in", data={"token": "reader"}, headers={"Origin": HOST})
    assert "secure" in answer.headers["set-cookie"].lower()


def test_a_wrong_token_signs_nobody_in(browser: TestClient) -> None:
    answer = sign_in(browser, "nobody")
    assert answer.status_code == 401
    assert "set-cookie" not in answer.headers
    assert "not valid" in answer.text
    assert "nobody" not in answer.text


@pytest.mark.parametrize(
    "headers",
    [
        {}, {"Origin": "http://evil"}, {"Origin": "null"}, {"Origin": HOST + ":81"},
        {"Origin": HOST, "Sec-Fetch-Site": "same-site"}, {"Sec-Fetch-Site": "cross-site"},
    ],
)  # fmt: skip
@pytest.mark.parametrize("path", ["/sign-in", "/sign-out"])
def test_other_sites_sign_nobody_in_or_out(
    browser: TestClient, path: str, headers: dict[str, str]
) -> None:
    answer = browser.post(path, data={"token": "reader"}, headers=headers)
    assert answer.status_code == 403
    assert "set-cookie" not in answer.headers


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        # 503: past the door, where there is no database.
        ({"Origin": HOST}, 503),
        ({"Sec-Fetch-Site": "same-origin"}, 503),
        ({"Origin": HOST, "Sec-Fetch-Site": "same-origin"}, 503),
        ({}, 403),
        ({"Origin": "http://evil"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": HOST, "Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
    ],
)
def test_only_own_pages_change_something_in_a_sessions_name(
    browser: TestClient, headers: dict[str, str], status: int
) -> None:
    browser.cookies.set(COOKIE, "trainer")
    assert browser.post(RETRAIN, headers=headers).status_code == status


def test_a_session_reads_and_has_its_tokens_scopes(browser: TestClient) -> None:
    browser.cookies.set(COOKIE, "planner")
    assert browser.get("/metrics").status_code == 200
    assert browser.post(RETRAIN, headers=OWN).status_code == 403


def test_a_bearer_token_needs_no_origin_and_wins_over_the_cookie(browser: TestClient) -> None:
    browser.cookies.set(COOKIE, "trainer")
    bearer = {"Authorization": "Bearer trainer", "Origin": "http://elsewhere"}
    assert browser.post(RETRAIN, headers=bearer).status_code == 503
    for other in ("Bearer nobody", "Basic dHJhaW5lcjp0cmFpbmVy", ""):
        answer = browser.post(RETRAIN, headers={"Authorization": other} | OWN)
        assert answer.status_code == 401, other


def test_signing_out_takes_the_cookie_away(browser: TestClient) -> None:
    sign_in(browser)
    assert browser.cookies.get(COOKIE)
    answer = browser.post("/sign-out", headers=OWN)
    assert (answer.status_code, answer.headers["location"]) == (303, "/sign-in")
    assert not browser.cookies.get(COOKIE)


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("/stores/1?promo=2015-06-19", "/stores/1?promo=2015-06-19"),
        ("//evil/x", "/"), ("/\\evil", "/"), ("https://evil", "/"), ("javascript:x", "/"),
        ("", "/"), ("/a\r\nSet-Cookie: x=y", "/"), ("/\t/evil", "/"),
    ],
)  # fmt: skip
def test_the_way_back_leads_to_this_service(address: str, expected: str) -> None:
    assert own_address(address) == expected


@pytest.mark.parametrize("path", ["/sign-in", "/static/layout.css", "/static/layout.js"])
def test_pages_load_nothing_from_elsewhere(browser: TestClient, path: str) -> None:
    answer = browser.get(path)
    assert answer.status_code == 200
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'")
    assert "unsafe" not in policy
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "same-origin"
    assert "https://" not in answer.text
    assert "style=" not in answer.text
    if path == "/sign-in":
        assert answer.headers["cache-control"] == "no-store"


def test_an_error_is_a_page_with_its_status(browser: TestClient) -> None:
    browser.cookies.set(COOKIE, "reader")
    answer = browser.get("/stores")
    assert answer.status_code == 503
    assert answer.headers["content-type"].startswith("text/html")
    assert int(answer.headers["retry-after"]) > 0
    assert answer.text.count("The sales database does not answer") == 2, "notice and reason"
    assert "planted-password" not in answer.text


def test_no_log_holds_the_token(browser: TestClient, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        sign_in(browser, "fs_secret-that-nobody-has")
        browser.cookies.set(COOKIE, "fs_secret-that-nobody-has")
        browser.get("/stores")
    assert "fs_secret" not in caplog.text
    assert caplog.records


@pytest.mark.parametrize(
    ("state", "minutes", "silence", "said"),
    [
        ("running", 1, 5, None),
        ("running", 6, 5, "no life since 2015-06-19 11:54 UTC"),
        ("running", 6, None, None),
        ("refused", 1, 5, "has given up and needs a decision: no such topic"),
        ("stopped", 1, 5, "was stopped"),
        (None, None, 5, None),
    ],
)
def test_a_dead_stream_is_said(
    state: str | None, minutes: int | None, silence: float | None, said: str | None
) -> None:
    row = {
        "topic": "sales",
        "stream_state": state,
        "beat_at": NOW - timedelta(minutes=minutes) if minutes else None,
        "stream_error": "no such topic\n  at line 3",
    }
    problem = notices.stream_problem(row, silence, NOW)
    assert (problem is None) == (said is None)
    assert said is None or said in str(problem)
    assert "line 3" not in str(problem)
