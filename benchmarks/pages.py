"""How long Dagster's pages of a whole chain take to open, in a browser.

`python -m benchmarks.pages` starts the whole stack on made-up sales of 1,115 stores over 31 months
(34,565 partitions an asset), then opens the overview of an asset's partitions and the lineage in
headless Chromium: with an empty cache and again, with nothing running, after each of some days'
refreshes, and while refreshes run. A page is open when it shows the number of partitions (the
lineage: its last asset). The last line is one JSON object.
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
from local_stack.http import graphql

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
ASSET = "cleaned_sales"
HISTORY_DAYS = 897
"""With the live days, from the first of January 2013: 31 months with those that are planned."""

DAYS = 3
AGAIN = 5
PATIENCE_MS = 60_000

_PARTITIONS = """
{ assetNodeOrError(assetKey: {path: ["%s"]}) { ... on AssetNode {
    partitionStats { numPartitions }
} } }
"""


@contextmanager
def browser() -> Iterator[Browser]:
    """Headless Chromium.

    Raises:
        SystemExit: There is none.
    """
    from playwright.sync_api import sync_playwright

    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        raise SystemExit(
            f"There is none of {', '.join(BROWSERS)} on PATH: install Chromium "
            "(on Debian: apt-get install chromium)."
        )
    # Chromium's sandbox refuses to run as root.
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=found, args=arguments)
        try:
            yield started
        finally:
            started.close()


class Pages:
    """The pages to open, and what shows that they are."""

    def __init__(self, chain: Chain) -> None:
        """Asks how many partitions there are.

        Args:
            chain: A chain with its first forecasts.
        """
        url = chain.stack.dagster.graphql_url()
        stats = graphql(url, _PARTITIONS % ASSET)["assetNodeOrError"]["partitionStats"]
        self.partitions = int(stats["numPartitions"])
        root = chain.stack.dagster.url
        self.shown = {
            "partitions": (f"{root}/assets/{ASSET}?view=partitions", f"{self.partitions:,}"),
            "lineage": (f"{root}/assets/forecasts?view=lineage", "forecast_accuracy"),
        }

    def open(self, page: Page, name: str) -> float:
        """Opens a page; returns the seconds until it shows what it is for."""
        url, sign = self.shown[name]
        page.goto("about:blank")
        began = time.monotonic()
        page.goto(url, wait_until="commit")
        page.get_by_text(sign).first.wait_for(timeout=PATIENCE_MS)
        return time.monotonic() - began

    def open_in(self, started: Browser, name: str) -> float:
        """Opens a page as somebody does who has not been there, with an empty cache."""
        context = started.new_context()
        try:
            return self.open(context.new_page(), name)
        finally:
            context.close()


def measure(stores: int, folder: Path) -> dict[str, Any]:
    """Runs the benchmark on a stack of its own; returns the JSON object."""
    with browser() as started, forecast_chain(None, stores, HISTORY_DAYS, DAYS, folder) as chain:
        chain.wait(chain.is_idle, "the end of the first refresh")
        pages = Pages(chain)
        found: dict[str, dict[str, list[float]]] = {}

        def note(name: str, when: str, seconds: float) -> None:
            found.setdefault(name, {}).setdefault(when, []).append(seconds)
            say(f"{name}, {when}: {seconds:.2f} s")

        for name in pages.shown:
            note(name, "first of all, empty cache", pages.open_in(started, name))
        page = started.new_page()
        for name in pages.shown:
            pages.open(page, name)  # fills the browser's cache
            for _ in range(AGAIN):
                note(name, "again", pages.open(page, name))
        for day in chain.plan.live_days:
            chain.send_alone(chain.plan.rows_of(day))
            chain.wait(lambda: not chain.is_idle(), "the refresh to begin")
            while not chain.is_idle():
                for name in pages.shown:
                    note(name, "beside a refresh", pages.open(page, name))
            for name in pages.shown:
                note(name, "after a refresh, empty cache", pages.open_in(started, name))
    return summary(pages.partitions, found)


def summary(partitions: int, found: dict[str, dict[str, list[float]]]) -> dict[str, Any]:
    """The table, printed, and the JSON object."""
    say(f"\n{partitions:,} partitions an asset, {os.cpu_count()} cores; seconds until it shows")
    say(f"{'page':12} {'when':30} {'median':>7} {'worst':>7} {'opened':>7}")
    for name, times in found.items():
        for when, seconds in times.items():
            say(
                f"{name:12} {when:30} {statistics.median(seconds):7.2f} {max(seconds):7.2f} "
                f"{len(seconds):7}"
            )
    return {
        "partitions": partitions,
        **{
            name: {when: round(statistics.median(seconds), 2) for when, seconds in times.items()}
            for name, times in found.items()
        },
    }


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.pages", description=__doc__)
    parser.add_argument("--stores", type=int, default=1_115)
    arguments = parser.parse_args()
    with scratch() as folder:
        found = measure(arguments.stores, folder)
    say(json.dumps(found))


if __name__ == "__main__":
    main()
