"""Chromium for the tests of the planners' pages, and a page of somebody signed in."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Page,
    expect,
    sync_playwright,
)

from tests.support.service import Service

PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "chrome")
#: What axe checks: WCAG 2.1 AA.
RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]}
#: Milliseconds that a page may take for what it does; other tests share the machine.
TIMEOUT = 20_000
PHONE, DESK = {"width": 360, "height": 740}, {"width": 1280, "height": 900}


@contextmanager
def chromium() -> Iterator[Browser]:
    """Start headless Chromium; skip the test where there is none, but not in a pipeline."""
    program = next(filter(None, map(shutil.which, PROGRAMS)), None)
    if program is None and "CI" not in os.environ:
        pytest.skip(f"PATH has none of {', '.join(PROGRAMS)}; on Debian: apt-get install chromium")
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=program, args=arguments)
        yield started
        started.close()


@contextmanager
def signed_in(
    browser: Browser, service: Service, client: str = "everything", **options: object
) -> Iterator[Page]:
    """Open a page of somebody signed in; a message of the browser's console is a failure."""
    with signed_in_at(browser, service.address, service.tokens[client], **options) as page:
        yield page


@contextmanager
def signed_in_at(browser: Browser, address: str, token: str, **options: object) -> Iterator[Page]:
    """Open a page of whoever has a token; a message of the browser's console is a failure."""
    context: BrowserContext = browser.new_context(
        **{"viewport": DESK, "locale": "en-GB", "base_url": address} | options  # type: ignore[arg-type]
    )
    context.set_default_timeout(TIMEOUT)
    expect.set_options(timeout=TIMEOUT)
    page, said = context.new_page(), []
    page.on("console", lambda message: said.append(message.text) if _is_wrong(message) else None)
    page.on("pageerror", lambda error: said.append(str(error)))
    page.goto(f"/sign-in?next=/stores#{token}")
    page.wait_for_url("**/stores")
    yield page
    context.close()
    assert said == []


def _is_wrong(message: ConsoleMessage) -> bool:
    """Tell whether a message of the console is a fault; answers with an error status are none."""
    return message.type in ("error", "warning") and "Failed to load resource" not in message.text
