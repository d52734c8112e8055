"""Seconds that Dagster's pages of a whole chain take to open in a browser.

`python -m benchmarks.pages` starts the whole stack on made-up sales of 1,115 stores over 31 months
(34,565 partitions per asset). In headless Chromium it opens the page of an asset's partitions and
the page of the lineage. It opens them with an empty cache, again while nothing runs, while
refreshes run, and right after them. A page is open when it shows the number of partitions, or the
last asset of the lineage. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.chain import Chain, forecast_chain
from benchmarks.common import say, scratch
from forecast_assets.servers.dagster_ui import NAME
from forecast_assets.servers.gate import session_cookie

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
ASSET = "cleaned_sales"
#: Days before the live days. Sales begin on 1 January 2013; with the planned days, the calendar has
#: 31 months.
HISTORY_DAYS = 897
#: Days that are sent, with one refresh each.
DAYS = 3
#: Number of times that a page is opened again while nothing runs.
AGAIN = 5
PATIENCE_MS = 60_000

_PARTITIONS = """
{ assetNodeOrError(assetKey: {path: ["%s"]}) { ... on AssetNode {
    partitionStats { numPartitions }
} } }
"""


@contextmanager
def chromium() -> Iterator[Browser]:
    """Start headless Chromium.

    Raises:
        SystemExit: No Chromium is installed.
    """
    from playwright.sync_api import sync_playwright

    program = next(filter(None, map(shutil.which, BROWSERS)), None)
    if program is None:
        raise SystemExit(
            f"PATH has none of {', '.join(BROWSERS)}: install Chromium "
            "(on Debian: apt-get install chromium)."
        )
    # Chromium's sandbox refuses to run as root.
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=arguments)
        try:
            yield browser
        finally:
            browser.close()


class Pages:
    """The pages to open, with the text that shows that they are open."""

    def __init__(self, chain: Chain) -> None:
        """Look up the number of partitions.

        Args:
            chain: A chain with its first forecasts.
        """
        stats = chain.dagster(_PARTITIONS % ASSET)["assetNodeOrError"]["partitionStats"]
        self.partitions = int(stats["numPartitions"])
        root = chain.stack.dagster.url
        self.root, self.token = root, chain.stack.dagster.token
        self.addresses = {
            "partitions": (f"{root}/assets/{ASSET}?view=partitions", f"{self.partitions:,}"),
            "lineage": (f"{root}/assets/forecasts?view=lineage", "forecast_accuracy"),
        }

    def open(self, page: Page, name: str) -> float:
        """Open a page; return the seconds until it shows its content."""
        url, text = self.addresses[name]
        page.goto("about:blank")
        start = time.monotonic()
        page.goto(url, wait_until="commit")
        page.get_by_text(text).first.wait_for(timeout=PATIENCE_MS)
        return time.monotonic() - start

    def signed_in(self, browser: Browser) -> BrowserContext:
        """Return a new context of the browser, signed in and with nothing cached."""
        context = browser.new_context()
        context.add_cookies([{"name": session_cookie(NAME), "value": self.token, "url": self.root}])
        return context

    def open_in(self, browser: Browser, name: str) -> float:
        """Open a page with an empty cache; return the seconds."""
        context = self.signed_in(browser)
        try:
            return self.open(context.new_page(), name)
        finally:
            context.close()


def measure(stores: int, folder: Path) -> dict[str, Any]:
    """Run the benchmark on a stack of its own; return the JSON object."""
    with chromium() as browser, forecast_chain(None, stores, HISTORY_DAYS, DAYS, folder) as chain:
        chain.wait(chain.is_idle, "the end of the first refresh")
        pages = Pages(chain)
        times: dict[str, dict[str, list[float]]] = {}

        def note(name: str, when: str, seconds: float) -> None:
            times.setdefault(name, {}).setdefault(when, []).append(seconds)
            say(f"{name}, {when}: {seconds:.2f} s")

        for name in pages.addresses:
            note(name, "first of all, empty cache", pages.open_in(browser, name))
        page = pages.signed_in(browser).new_page()
        for name in pages.addresses:
            pages.open(page, name)  # fills the browser's cache
            for _ in range(AGAIN):
                note(name, "again", pages.open(page, name))
        for day in chain.plan.live_days:
            chain.send_alone(chain.plan.rows_of(day))
            chain.wait(lambda: not chain.is_idle(), "the refresh to begin")
            while not chain.is_idle():
                for name in pages.addresses:
                    note(name, "beside a refresh", pages.open(page, name))
            for name in pages.addresses:
                note(name, "after a refresh, empty cache", pages.open_in(browser, name))
    return summarize(pages.partitions, times)


def summarize(partitions: int, times: dict[str, dict[str, list[float]]]) -> dict[str, Any]:
    """Print the table; return the JSON object."""
    say(f"\n{partitions:,} partitions per asset, {os.cpu_count()} cores; seconds until it shows")
    say(f"{'page':12} {'when':30} {'median':>7} {'worst':>7} {'opened':>7}")
    for name, by_occasion in times.items():
        for when, seconds in by_occasion.items():
            say(
                f"{name:12} {when:30} {statistics.median(seconds):7.2f} {max(seconds):7.2f} "
                f"{len(seconds):7}"
            )
    return {
        "partitions": partitions,
        **{
            name: {
                when: round(statistics.median(seconds), 2) for when, seconds in by_occasion.items()
            }
            for name, by_occasion in times.items()
        },
    }


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.pages", description=__doc__)
    parser.add_argument("--stores", type=int, default=1_115)
    arguments = parser.parse_args()
    with scratch() as folder:
        say(json.dumps(measure(arguments.stores, folder)))


if __name__ == "__main__":
    main()
