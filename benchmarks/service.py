"""How fast the service answers, beside the bare query and the earlier system's way.

Server, client and database share the machine's cores. Requests are sent by the clock, 200 each
second, whether or not earlier ones were answered, and each one's time counts from when it was due:
a server that falls behind can't hide it. The planners' pages are opened in headless Chromium with
an empty cache, until they show their content. The rest of the stack is stopped while
this is measured.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

import httpx
import pandas as pd
import psycopg
import typer

from benchmarks.chain import Chain, forecast_chain
from benchmarks.common import say, scratch
from benchmarks.pages import chromium
from forecast_service.pages import FIRST_DAY, LAST_DAY
from forecast_service.sessions import COOKIE
from local_stack.forecast_api import NAME as SERVICE
from local_stack.postgres import NAME as POSTGRES
from local_stack.stack import SERVICES
from warehouse.service import reading

RATE = 200
SECONDS = 15
#: Connections that send; more than can be busy at the bounds below.
CONNECTIONS = 32
REPEATS = 15
#: Times that each page is opened.
VIEWS = 5
HISTORY_DAYS = 500
#: Days of sales that the earlier system trained Prophet on, and days that it predicted.
PROPHET_DAYS, PREDICTED_DAYS = 120, 7
BOUNDS = {
    "p50_ms": 5.0,
    "p99_ms": 25.0,
    "bulk_s": 0.5,
    "what_if_ms": 150.0,
    "first_view_s": 1.5,
    "vs_sql": 4.0,
}
MIN_VS_PROPHET = 20.0


@dataclass
class Latencies:
    """Seconds of each answer since its request was due."""

    seconds: list[float]
    failures: int = 0

    def percentile_ms(self, share: float) -> float:
        """Return a percentile in milliseconds."""
        ordered = sorted(self.seconds)
        return 1000 * ordered[min(len(ordered) - 1, round(share * len(ordered)))]


class Connection:
    """A kept HTTP/1.1 connection that reads whole answers and parses no more than it must."""

    def __init__(self, host: str, port: int, token: str) -> None:
        """Remember the address."""
        self._host, self._port, self._token = host, port, token
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def get(self, path: str) -> int:
        """Send a request and return the answer's status."""
        if self._streams is None:
            self._streams = await asyncio.open_connection(self._host, self._port)
        reader, writer = self._streams
        writer.write(
            f"GET {path} HTTP/1.1\r\nHost: {self._host}:{self._port}\r\n"
            f"Authorization: Bearer {self._token}\r\n\r\n".encode()
        )
        head = await reader.readuntil(b"\r\n\r\n")
        lines = head.decode("latin-1").lower().split("\r\n")
        length = next(line for line in lines if line.startswith("content-length:"))
        await reader.readexactly(int(length.partition(":")[2]))
        return int(lines[0].split()[1])


async def load(url: str, token: str, paths: list[str]) -> Latencies:
    """Send requests by the clock, and time them."""
    parts = urlsplit(url)
    free: asyncio.Queue[Connection] = asyncio.Queue()
    for _ in range(CONNECTIONS):
        free.put_nowait(Connection(str(parts.hostname), int(parts.port or 80), token))
    result = Latencies([])

    async def send(path: str, due: float) -> None:
        connection = await free.get()
        try:
            if await connection.get(path) != 200:
                result.failures += 1
        finally:
            free.put_nowait(connection)
        result.seconds.append(time.perf_counter() - due)

    start, tasks = time.perf_counter() + 0.05, []
    for number, path in enumerate(paths):
        due = start + number / RATE
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        tasks.append(asyncio.create_task(send(path, due)))
    await asyncio.gather(*tasks)
    return result


def median_ms(work: Callable[[], Any], repeats: int = REPEATS) -> float:
    """Return the median time of some work in milliseconds, once it is warm."""
    work()
    times = []
    for _ in range(repeats):
        begin = time.perf_counter()
        work()
        times.append(time.perf_counter() - begin)
    return 1000 * statistics.median(times)


def bare_query_ms(chain: Chain, stores: list[int]) -> float:
    """Return the median time of the query alone, through psycopg."""
    with psycopg.connect(
        chain.stack.environment["READER_DATABASE_URL"],
        autocommit=True,
        cursor_factory=psycopg.RawCursor,
        options="-c plan_cache_mode=force_generic_plan",
    ) as connection:
        numbers = iter(stores * 100)

        def query() -> None:
            parameters = ([next(numbers)], FIRST_DAY, LAST_DAY, 0, FIRST_DAY, 1001)
            rows = connection.execute(reading.FORECASTS, parameters, prepare=True).fetchall()
            assert len(rows) == 42  # noqa: S101

        return median_ms(query, 300)


def prophet_ms(days: pd.DataFrame) -> float:
    """Return the median time to load a stored Prophet model and predict, for one store."""
    from prophet import Prophet
    from prophet.serialize import model_from_json, model_to_json

    frame = pd.DataFrame({"ds": pd.to_datetime(days["date"]), "y": days["sales"]})
    stored = model_to_json(Prophet().fit(frame))
    first = frame["ds"].max() + timedelta(days=1)
    ahead = pd.DataFrame({"ds": pd.date_range(first, periods=PREDICTED_DAYS)})
    return median_ms(lambda: model_from_json(stored).predict(ahead), 5)


def first_views(url: str, token: str, store: int) -> dict[str, float]:
    """Return the median seconds until each page shows its content, with an empty cache.

    Raises:
        SystemExit: No Chromium is installed.
    """
    # Page -> its address, and what shows that it is complete.
    pages = {
        # Made-up stores may need nobody: then there is a sentence instead of the table.
        "worklist": ("/", "main p"),
        "chain": ("/chain", "#chart canvas"),
        "store": (f"/stores/{store}", "#chart canvas"),
    }
    seconds: dict[str, list[float]] = {name: [] for name in pages}
    with chromium() as browser:
        for _ in range(VIEWS):
            for name, (path, content) in pages.items():
                context = browser.new_context()
                context.add_cookies([{"name": COOKIE, "value": token, "url": url}])
                page = context.new_page()
                begin = time.perf_counter()
                page.goto(f"{url}{path}", wait_until="load")
                page.locator(content).first.wait_for()
                seconds[name].append(time.perf_counter() - begin)
                context.close()
    return {f"{name}_view_s": round(statistics.median(some), 2) for name, some in seconds.items()}


def measure(chain: Chain) -> dict[str, float]:
    """Return all measurements."""
    stack = chain.stack
    for name in sorted(SERVICES - {POSTGRES, SERVICE}):
        stack.stop_service(name)
    url, token = stack.service.url, stack.service.token
    found = chain.row(
        "SELECT array_agg(store ORDER BY store) AS stores, max(origin) AS origin "
        "FROM sales.current_forecasts WHERE horizon = 1"
    )
    stores = found["stores"]
    paths = [f"/v1/forecasts?store={stores[n * 37 % len(stores)]}" for n in range(RATE * SECONDS)]
    asyncio.run(load(url, token, paths[:RATE]))
    latencies = asyncio.run(load(url, token, paths))
    say(f"{len(paths):,} requests at {RATE}/s, {latencies.failures} failed")
    query_ms = bare_query_ms(chain, stores)
    headers = {"Authorization": f"Bearer {token}"}
    with httpx.Client(base_url=url, headers=headers, trust_env=False, timeout=60) as client:
        bulk = median_ms(
            lambda: client.get("/v1/forecasts?format=parquet").raise_for_status().content, 5
        )
        day = str(found["origin"] + timedelta(days=5))
        changes = {"changes": [{"store": stores[0], "first_day": day, "promo": 1, "open": 1}]}
        what_if = median_ms(
            lambda: client.post("/v1/scenarios", json=changes).raise_for_status().content
        )
        begin = time.perf_counter()
        client.get("/v1/worklist").raise_for_status()
        worklist = time.perf_counter() - begin
        history = client.get(f"/v1/history?store={stores[0]}&limit=10000").json()["items"]
    prophets = prophet_ms(pd.DataFrame(history).tail(PROPHET_DAYS))
    p50 = latencies.percentile_ms(0.5)
    views = first_views(url, token, stores[0])
    return {
        "stores": len(stores),
        "failures": latencies.failures,
        "p50_ms": round(p50, 2),
        "p99_ms": round(latencies.percentile_ms(0.99), 2),
        "bulk_s": round(bulk / 1000, 3),
        "what_if_ms": round(what_if, 1),
        "worklist_ms": round(1000 * worklist, 1),
        **views,
        "first_view_s": max(views.values()),
        "query_ms": round(query_ms, 2),
        "prophet_ms": round(prophets, 1),
        "vs_sql": round(p50 / query_ms, 2),
        "vs_prophet": round(prophets / p50, 1),
    }


def main(
    data: Annotated[Path | None, typer.Option(help="A folder with Kaggle's files.")] = None,
    stores: Annotated[int, typer.Option(min=1, help="Number of made-up stores.")] = 1115,
) -> None:
    """Measure the service; fail if a bound does not hold."""
    with scratch() as folder, forecast_chain(data, stores, HISTORY_DAYS, 0, folder) as chain:
        results = measure(chain)
    broken = [name for name, bound in BOUNDS.items() if results[name] > bound]
    broken += ["vs_prophet"] if results["vs_prophet"] < MIN_VS_PROPHET else []
    broken += ["failures"] if results["failures"] else []
    for name, value in results.items():
        bound = BOUNDS.get(name)
        say(f"{name:12} {value:>10}" + (f"   bound {bound:g}" if bound else ""))
    say(json.dumps(results))
    if broken:
        raise SystemExit(f"out of bounds: {', '.join(broken)}")


if __name__ == "__main__":
    typer.run(main)
