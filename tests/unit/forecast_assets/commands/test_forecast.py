"""The options of `forecast` and `accuracy`; what they read is in the integration tests."""

from __future__ import annotations

import pytest
import typer

from forecast_assets.commands.forecast import parse_stores, wait_for
from warehouse.errors import NotFoundError, NotYetError


def test_stores_are_repeated_or_listed() -> None:
    assert parse_stores(None) == []
    assert parse_stores(["12"]) == [12]
    assert parse_stores(["12, 13", "7"]) == [12, 13, 7]


@pytest.mark.parametrize("text", ["", "one", "1;2", "0", "-3", "1.5", "99999999999", "1,,2", "²"])
def test_what_is_no_store_is_refused(text: str) -> None:
    with pytest.raises(typer.BadParameter, match="is no store's number"):
        parse_stores([text])


def test_waiting_ends_with_the_forecast_the_time_or_another_error() -> None:
    looks: list[int] = []

    def appears() -> str:
        looks.append(1)
        if len(looks) < 3:
            raise NotYetError("not yet")
        return "a forecast"

    assert wait_for(appears, 1, sleep=lambda _: None) == "a forecast"

    def never() -> str:
        raise NotYetError("not yet")

    with pytest.raises(NotYetError):
        wait_for(never, 0, sleep=lambda _: pytest.fail("it was not asked to wait"))

    def unknown() -> str:
        raise NotFoundError("no such store")

    with pytest.raises(NotFoundError):
        wait_for(unknown, 60, sleep=lambda _: pytest.fail("waiting brings no store"))
