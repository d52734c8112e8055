"""What pages say of wrong addresses and of what is not there: in words, without commands."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from forecast_service.page import errors
from forecast_service.page.rendering import HERE
from warehouse.errors import NotFoundError, NotYetError
from warehouse.in_force import NOTHING_YET


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("/stores/abc", "The store’s number must be a whole number."),
        ("/stores?store=0", "The store’s number must be 1 or more."),
        ("/stores/1?weeks=105", "The weeks of history must be 104 or less."),
        ("/stores/1/why?day=tomorrow", "The day is not right: a day like 2015-06-19 is expected."),
        ("/chain?grain=year", "The choice of weeks or days must be one of &#39;day&#39; or"),
        ("/?reason=whim", "The reason must be one of"),
    ],
)
def test_a_wrong_address_is_told_in_words(client: TestClient, address: str, said: str) -> None:
    answer = client.get(address)
    assert answer.status_code == 422
    assert said in answer.text
    for machine in ("Input should", "Value error", "unable to parse"):
        assert machine not in answer.text


def test_what_is_not_there_yet_is_told_without_commands() -> None:
    assert "`" in NOTHING_YET, "this test is about commands"
    for error in (NotYetError(NOTHING_YET), NotFoundError("load them with `make up`")):
        assert "`" not in errors.missing(error)
        assert "whoever runs the system" in errors.missing(error).lower()
    assert errors.missing(NotFoundError("there is no store 99")) == "There is no store 99."


@pytest.mark.parametrize("page", sorted((HERE / "templates").glob("*.html")), ids=lambda p: p.name)
def test_pages_tell_planners_no_commands(page: Path) -> None:
    assert not re.search(r"\bmake \w+</code>|python -m|--\w", page.read_text())
