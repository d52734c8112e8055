"""Tests of the whole stack: events become forecasts, faults lose nothing, command lines work."""

import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any
from unittest.mock import patch

import httpx
import openpyxl
import pandas as pd
import psutil
import pytest
from kafka import KafkaProducer
from playwright.sync_api import Browser, Page, expect
from rich.console import Console

from forecast_assets.settings import DAGSTER_BATCHING
from local_stack import paths
from local_stack.background import show_status, stop_background
from local_stack.code_server import NAME as CODE_SERVER
from local_stack.dagster_processes import DAEMON, WEBSERVER
from local_stack.data_plan import DataPlan, plan_of_files
from local_stack.data_status import describe_data
from local_stack.environment import write_dotenv
from local_stack.errors import StackError
from local_stack.http import graphql
from local_stack.processes import MARKER
from local_stack.report import Report
from local_stack.stack import SERVICES, TOPIC, Stack
from rossmann.sample_data import sample_files
from streaming_job.producer import produce
from tests.support.backfill import Backfill
from tests.support.browser import signed_in_at
from tests.support.panels import empty_panels
from tests.support.prometheus import watching
from tests.support.secret_hunt import in_files, in_tables, in_texts, watched_processes

pytestmark = pytest.mark.timeout(900)

STORES = 5
END = date(2015, 6, 19)
PLANTED = "hook-of-secret-7d1f"
BIN = Path(sys.executable).parent


@dataclass
class Running:
    """A stack with all services running, its data, and the number of events sent so far."""

    stack: Stack
    plan: DataPlan
    report: Report
    project: Path
    #: What `ps` showed of any process since the first one was started.
    command_lines: set[str]
    produced: int = 0
    plans: int = 0

    def send(self, rows: pd.DataFrame) -> None:
        self.produced += produce(
            rows,
            bootstrap_servers=self.stack.kafka.bootstrap_servers,
            topic=TOPIC,
            access=self.stack.kafka.access,
        )

    def run(self, *arguments: str, component: str = "dagster", ok: bool = True) -> str:
        answer = subprocess.run(
            arguments,
            cwd=self.project,
            env=self.stack.component_environment(component) | {"COLUMNS": "200"},
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        assert (answer.returncode == 0) == ok, answer.stdout + answer.stderr
        return answer.stdout + answer.stderr

    def landed(self) -> bool:
        totals = self.report.stream_totals(TOPIC)
        return totals.stored + totals.quarantined >= self.produced + self.plans


def wait(done: Callable[[], bool], what: str, seconds: float = 240) -> None:
    deadline = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < deadline, f"waited {seconds} s for {what}"
        time.sleep(0.5)


def project_in(folder: Path) -> Path:
    """Create a folder with links to the repository's files, but without its `.env`.

    Dagster's command lines read the project's settings and `.env` from the folder in which they
    start. The repository's `.env` may belong to a stack that the developer runs.
    """
    folder.mkdir()
    for path in paths.REPOSITORY.iterdir():
        if not path.name.startswith("."):
            (folder / path.name).symlink_to(path)
    return folder


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("whole")
    sample_files(STORES, 450, END, seed=5).write(folder / "data")
    plan = plan_of_files(folder / "data")
    # Nobody listens there, so that its failures are logged.
    planted = {"FORECAST_ALERT_WEBHOOK": f"http://127.0.0.1:9/{PLANTED}"}
    with (
        patch.dict(os.environ, planted),
        watched_processes() as command_lines,
        Stack.start(folder / "stack", {"postgres"}, calendar=plan.calendar) as stack,
    ):
        loader = subprocess.run(
            [
                sys.executable, "-m", "forecast_assets", "load",
                f"--data={plan.folder}", f"--until={plan.history_until}",
            ],
            cwd=folder,
            env=stack.component_environment("loader"),
            check=True,
        )  # fmt: skip
        assert loader.returncode == 0
        stack.start_services(SERVICES)
        report = Report(stack.environment["READER_DATABASE_URL"])
        yield Running(stack, plan, report, project_in(folder / "project"), command_lines)
        report.close()
    stack.remove_data()


def test_history_becomes_forecasts_by_itself(running: Running) -> None:
    def done() -> bool:
        progress = running.report.progress()
        return progress.trained and progress.stores == STORES and not progress.open_changes

    wait(done, "the first refresh and training")
    assert running.report.forecast_days(running.plan.history_until) == (STORES, 42)


def test_a_live_day_becomes_forecasts(running: Running) -> None:
    day = running.plan.live_days[0]
    running.send(running.plan.rows_of(day))
    wait(lambda: running.report.stores_with_origin(day) == STORES, f"forecasts from {day}")
    assert running.report.forecast_days(day) == (STORES, 42)


def test_a_plan_is_adopted_and_a_refresh_started_through_the_service(running: Running) -> None:
    service = running.stack.service
    with httpx.Client(
        base_url=service.url,
        headers={"Authorization": f"Bearer {service.token}"},
        trust_env=False,
        timeout=60,
    ) as client:

        def follow(answer: httpx.Response) -> dict[str, Any]:
            address = answer.raise_for_status().headers["location"]
            job: dict[str, Any] = {}

            def ended() -> bool:
                job.update(client.get(address).raise_for_status().json())
                return bool(job["done"])

            wait(ended, f"the job {address}")
            return job

        def in_force() -> dict[str, dict[str, Any]]:
            items = client.get("/v1/forecasts?store=1").raise_for_status().json()["items"]
            return {row["date"]: row for row in items}

        before = in_force()
        # Live days come first, and the plan must not contradict them.
        day = next(date for date, row in before.items() if row["open"] and row["horizon"] > 20)
        changes = {"changes": [{"store": 1, "first_day": day, "open": 0}]}
        expected = client.post("/v1/scenarios", json=changes).raise_for_status().json()
        running.plans += 1
        job = follow(client.post("/v1/plans", json=changes))
        assert job["status"] == "succeeded", job
        after = in_force()
        assert (after[day]["open"], after[day]["point"], after[day]["plan_assumed"]) == (
            0,
            0,
            False,
        )
        for row in expected["days"]:
            assert after[row["date"]]["point"] == pytest.approx(row["scenario"]["point"], rel=1e-9)
        job = follow(client.post("/v1/stores/1/refresh"))
        assert job["status"] == "succeeded", job
        assert client.get("/health/ready").json()["checks"]["dagster"] == "ok"
        assert client.get("/health/ready").json()["checks"]["mlflow"] == "ok"


def test_the_stack_says_how_its_stream_and_its_data_are(running: Running) -> None:
    def lines() -> list[str]:
        return describe_data(running.stack, END)

    wait(lambda: "stream: running, 0 events wait" in lines(), "the stream's heartbeat")
    day = running.plan.live_days[0]
    assert f"sales: {STORES} stores, newest day {day}" in lines()
    assert "runs: none has failed" in lines()


def test_a_killed_stream_loses_and_doubles_nothing(running: Running) -> None:
    first, second = running.plan.live_days[1:3]
    running.send(running.plan.rows_of(first))
    running.stack.kill_service("stream")
    running.send(running.plan.rows_of(second))
    running.stack.start_services({"stream"})
    wait(running.landed, "the events of both days")
    wait(lambda: running.report.stores_with_origin(second) == STORES, f"forecasts from {second}")
    assert_exact(running)


_RELOAD = """
mutation { reloadRepositoryLocation(repositoryLocationName: "forecast_assets") {
    __typename ... on WorkspaceLocationEntry { loadStatus }
} }
"""


def code_process(stack: Stack) -> int:
    """Return the process that has loaded the code: the newest child of the code server's proxy."""
    import psutil

    server = stack.processes.find(CODE_SERVER)
    assert server is not None
    return max(psutil.Process(server.pid).children(), key=lambda child: child.create_time()).pid


def test_the_reload_button_starts_the_code_anew(running: Running) -> None:
    before = code_process(running.stack)
    entry = graphql(running.stack.dagster.graphql_url(), _RELOAD, timeout=120)
    assert entry["reloadRepositoryLocation"]["loadStatus"] == "LOADED"
    assert code_process(running.stack) != before
    assert running.stack.is_running(CODE_SERVER)


def test_code_that_dies_is_noticed_and_started_again(running: Running) -> None:
    os.kill(code_process(running.stack), signal.SIGKILL)
    wait(lambda: not running.stack.is_running(CODE_SERVER), "the code's death to be noticed")
    running.stack.start_services({CODE_SERVER})
    assert running.stack.is_running(CODE_SERVER)

    def is_loaded() -> bool:
        try:
            return running.stack.dagster._is_ready()
        except StackError:
            # The webserver looks for a lost code server every few seconds.
            return False

    wait(is_loaded, "the webserver to find the code again")


def test_a_lost_checkpoint_folder_loses_and_doubles_nothing(running: Running) -> None:
    day = running.plan.live_days[3]
    running.stack.stop_service("stream")
    shutil.rmtree(running.stack.environment["SPARK_STREAM_CHECKPOINTS_PATH"])
    running.send(running.plan.rows_of(day))
    running.stack.start_services({"stream"})
    wait(lambda: running.report.stores_with_origin(day) == STORES, f"forecasts from {day}")
    assert_exact(running)


def assert_exact(running: Running) -> None:
    """Every event is stored once, with the values that were sent."""
    output = running.run(sys.executable, "-m", "streaming_job", "audit", component="stream")
    assert "nothing lost or duplicated" in output
    sent = running.plan.live.assign(Date=pd.to_datetime(running.plan.live["Date"]))
    stored = pd.DataFrame(
        running.report._rows(
            "SELECT r.store, r.date, r.sales FROM sales.raw_sales r "
            "JOIN sales.streams s USING (stream_id) WHERE s.topic = %s AND r.sales IS NOT NULL",
            TOPIC,
        )
    )
    assert len(stored) == running.produced
    assert not stored.duplicated(["store", "date"]).any()
    stored["date"] = pd.to_datetime(stored["date"])
    both = stored.merge(sent, left_on=["store", "date"], right_on=["Store", "Date"])
    assert len(both) == running.produced
    assert (both["sales"] == both["Sales"]).all()


def test_a_refresh_names_the_offsets_and_the_model_that_it_saw(running: Running) -> None:
    assets = {
        "raw_sales", "cleaned_sales", "features", "store_models", "forecasts",
        "forecast_accuracy",
    }  # fmt: skip

    def newest() -> dict[str, Any]:
        (refresh,) = running.report._rows(
            "SELECT * FROM sales.refreshes WHERE finished_at IS NOT NULL "
            "ORDER BY finished_at DESC LIMIT 1"
        )
        return refresh

    # A refresh is finished with its forecasts; the timing of their accuracy is recorded later.
    wait(lambda: set(newest()["timings"]) == assets, "the timings of all assets")
    refresh = newest()
    taken = sum(entry["next_offset"] for entry in refresh["offsets"] if entry["topic"] == TOPIC)
    assert taken == running.produced + running.plans
    assert refresh["model_version"]
    assert refresh["newest_origin"] == running.plan.live_days[3]


def test_both_batching_settings_are_in_force_in_every_dagster_process(running: Running) -> None:
    import psutil

    found = []
    for process in psutil.process_iter(["cmdline"]):
        line = " ".join(process.info["cmdline"] or [])
        if "dagster" not in line or not _belongs_to(process, running.stack.folder):
            continue
        environment = process.environ()
        found.append(line)
        for name, value in DAGSTER_BATCHING.items():
            assert environment.get(name) == value, line
    assert any("servers.dagster_ui" in line for line in found)
    assert any("dagster-daemon" in line for line in found)
    assert any("api grpc" in line for line in found), "the code server"


def _belongs_to(process: object, folder: Path) -> bool:
    import psutil

    assert isinstance(process, psutil.Process)
    try:
        return process.environ().get("DAGSTER_HOME", "").startswith(str(folder))
    except (psutil.AccessDenied, psutil.NoSuchProcess):
        return False


def test_the_asset_command_line(running: Running) -> None:
    assert "cleaned_sales" in running.run(
        str(BIN / "dagster"), "asset", "list", "-m", "forecast_assets.definitions"
    )
    output = running.run(
        str(BIN / "dagster"), "asset", "materialize", "-m", "forecast_assets.definitions",
        "--select", "cleaned_sales,features", "--partition", "2015-05-01|3",
    )  # fmt: skip
    for asset in ("cleaned_sales", "features"):
        assert f"{asset} - 1 partitions" in output
    running.run(str(BIN / "dagster"), "definitions", "validate")
    running.run(str(BIN / "dg"), "check", "defs")
    assert "store_models" in running.run(str(BIN / "dg"), "list", "defs")


_LAUNCH = """
mutation {{ launchRun(executionParams: {{
    selector: {{ repositoryName: "{repository}", repositoryLocationName: "{location}",
        jobName: "refresh" }},
    runConfigData: {{ resources: {{ only_days: {{ config: {{ last_day: "2015-13-20" }} }} }} }},
    executionMetadata: {{ tags: [{{ key: "dagster/partition", value: "2015-05-01|3" }}] }}
}}) {{
    __typename
    ... on PythonError {{ message }}
    ... on RunConfigValidationInvalid {{ errors {{ message }} }}
}} }}
"""
_REPOSITORIES = """
{ repositoriesOrError { ... on RepositoryConnection { nodes { name location { name } } } } }
"""
_COUNT = "{ runsOrError { ... on Runs { count } } }"


def test_run_config_is_judged_before_a_run_exists(running: Running) -> None:
    """As the launchpad's button asks for it; `dg launch` plans runs in its own process."""
    url = running.stack.dagster.graphql_url()
    (repository,) = graphql(url, _REPOSITORIES)["repositoriesOrError"]["nodes"]
    launch = _LAUNCH.format(repository=repository["name"], location=repository["location"]["name"])
    runs = graphql(url, _COUNT)["runsOrError"]["count"]
    answer = graphql(url, launch)["launchRun"]
    assert answer["__typename"] != "LaunchRunSuccess"
    assert "'2015-13-20' is not a day" in json.dumps(answer)
    wrong = {"resources": {"only_days": {"config": {"last_day": "2015-13-20"}}}}
    assert "'2015-13-20' is not a day" in running.run(
        str(BIN / "dg"), "launch", "--job", "refresh", "--partition", "2015-05-01|3",
        "--config-json", json.dumps(wrong), ok=False,
    )  # fmt: skip
    assert graphql(url, _COUNT)["runsOrError"]["count"] == runs


def test_a_backtest_from_the_command_line(running: Running) -> None:
    running.run(
        str(BIN / "dg"), "launch", "--assets", "store_models,forecasts",
        "--partition-range", f"2015-05-01|1...2015-05-01|{STORES}",
    )  # fmt: skip
    rows = running.report._rows(
        "SELECT origin, count(DISTINCT store) AS stores FROM sales.forecasts_backtest "
        "GROUP BY origin"
    )
    assert [(row["origin"], row["stores"]) for row in rows] == [(date(2015, 5, 31), STORES)]


def test_a_range_of_months_and_stores_is_one_run(running: Running) -> None:
    output = running.run(
        str(BIN / "dagster"), "asset", "materialize", "-m", "forecast_assets.definitions",
        "--select", "store_models,forecasts", "--partition-range", "2015-03-01|2...2015-04-01|3",
    )  # fmt: skip
    assert "forecasts - 4 partitions" in output
    rows = running.report._rows(
        "SELECT DISTINCT origin, store FROM sales.forecasts_backtest WHERE origin < '2015-05-01' "
        "ORDER BY origin, store"
    )
    asked = [(day, store) for day in (date(2015, 3, 31), date(2015, 4, 30)) for store in (2, 3)]
    assert [(row["origin"], row["store"]) for row in rows] == asked


def test_a_backfill_of_scattered_stores_takes_a_run_for_each_unbroken_range(
    running: Running,
) -> None:
    stores = (1, 2, 4, 5)
    backfill = Backfill.launch(
        running.stack.dagster.graphql_url(),
        [f"2015-02-01|{store}" for store in stores],
    )
    wait(backfill.is_over, "the backfill to end")
    assert backfill.state() == "COMPLETED_SUCCESS"
    assert backfill.runs() == {"SUCCESS": 2}, "stores 1 to 2, and 4 to 5"
    rows = running.report._rows(
        "SELECT DISTINCT store FROM sales.forecasts_backtest WHERE origin = '2015-02-28' "
        "ORDER BY store"
    )
    assert [row["store"] for row in rows] == list(stores)


def test_raw_sales_drains_the_topic_where_no_stream_runs(running: Running) -> None:
    day = running.plan.live_days[4]
    running.stack.stop_service("stream")
    running.send(running.plan.rows_of(day))
    assert not running.landed()
    running.run(
        str(BIN / "dagster"), "asset", "materialize", "-m", "forecast_assets.definitions",
        "--select", "raw_sales", "--partition", "2015-06-01|1",
        "--config-json", json.dumps({"ops": {"raw_sales": {"config": {"drain": True}}}}),
    )  # fmt: skip
    assert running.landed()
    wait(lambda: running.report.stores_with_origin(day) == STORES, f"forecasts from {day}")
    assert_exact(running)


def test_training_is_in_mlflow(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    import mlflow

    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", running.stack.mlflow.token)
    client = mlflow.MlflowClient(running.stack.environment["MLFLOW_TRACKING_URI"])
    experiment = client.get_experiment_by_name("sales-forecast")
    assert experiment is not None
    (run, *_) = client.search_runs([experiment.experiment_id])
    assert run.info.status == "FINISHED"
    assert run.data.params["stores"] == str(STORES)
    assert run.data.metrics["rmspe"] > 0
    assert [file.path for file in client.list_artifacts(run.info.run_id)]
    (version,) = running.report._rows(
        "SELECT mlflow_run_id, mlflow_version FROM sales.pooled_models"
    )
    assert version["mlflow_run_id"] == run.info.run_id
    champion = client.get_model_version_by_alias("sales-forecast", "champion")
    assert (champion.run_id, str(champion.version)) == (
        version["mlflow_run_id"],
        version["mlflow_version"],
    )


def test_live_days_were_held_against_their_forecasts(running: Running) -> None:
    days = running.plan.live_days

    def by_lead() -> list[dict[str, object]]:
        return running.report._rows("SELECT * FROM sales.accuracy_by_lead WHERE kind = 'issued'")

    wait(lambda: any(row["last_day"] == days[4] for row in by_lead()), f"{days[4]} to be scored")
    (row,) = by_lead()
    assert row["lead_week"] == 1
    # The history's last day is the origin of five scored days. The first, third and fourth live
    # days are the origins of four, two and one. Whether the second live day is an origin too, of
    # three scored days, depends on the moment at which the stream was killed.
    assert row["forecasts"] in (STORES * 12, STORES * 15)
    assert 0 < float(str(row["wape"])) < 0.5


def test_every_panel_shows_data(running: Running, tmp_path: Path) -> None:
    """A real Prometheus watches a day with an adjustment and an unusable event."""
    stack, day = running.stack, running.plan.live_days[5]
    stack.start_services({"stream"})
    headers = {"Authorization": f"Bearer {stack.service.token}"}
    with httpx.Client(base_url=stack.service.url, headers=headers, trust_env=False) as client:
        row = {"store": 1, "first_day": str(day), "percent": 5, "reason": "event"}
        client.post("/v1/adjustments", json=row).raise_for_status()
        servers, access = stack.kafka.bootstrap_servers, stack.kafka.access.client_options()
        with closing(KafkaProducer(bootstrap_servers=servers, **access)) as producer:
            producer.send(TOPIC, b"no event").get(30)
        running.produced += 1
        running.send(running.plan.rows_of(day))
        wait(lambda: running.report.stores_with_origin(day) == STORES, f"forecasts from {day}")
        scored = "SELECT count(*) AS days FROM sales.forecast_value_added"
        wait(lambda: running.report._row(scored)["days"] > 0, "the adjustment to be scored")
        stack.exporter.write_config(stack.service.port, scrape_seconds=1)
        with watching(stack.exporter.config, tmp_path) as prometheus:
            # Nobody else asks the service: its panels are about the last minutes.
            for _ in range(3):
                client.get("/v1/stores").raise_for_status()
                time.sleep(1.5)
            assert empty_panels(prometheus, seconds=90) == {}
            targets = prometheus.ask("targets")["activeTargets"]
            assert {target["labels"]["job"]: target["health"] for target in targets} == {
                "exporter": "up", "service": "up", "stream": "up",
            }  # fmt: skip
            rules = [r for group in prometheus.ask("rules")["groups"] for r in group["rules"]]
            failing = {rule["name"]: rule["lastError"] for rule in rules if rule.get("lastError")}
            assert failing == {}
            (stream,) = prometheus.query('forecast_problem{rule="stream"}')
            assert stream["value"][1] == "0"


def test_a_planner_works_through_a_day(running: Running, browser: Browser, tmp_path: Path) -> None:
    """From the worklist to a plan, a number of one's own, a retraining and a file."""
    stack, day = running.stack, running.plan.live_days[6]
    rows = running.plan.rows_of(day)
    running.send(rows[rows["Store"] != 3])
    wait(lambda: running.report.stores_with_origin(day) == STORES - 1, f"forecasts from {day}")
    with signed_in_at(browser, stack.service.url, stack.service.token) as page:
        page.goto("/")
        work = page.locator("table.work tbody tr").filter(has=page.get_by_text("Store 3"))
        expect(work).to_contain_text("Day missing")
        work.get_by_role("link", name="Store 3").click()
        expect(page.get_by_role("heading", level=1)).to_have_text("Store 3")
        expect(page.locator("#chart canvas")).to_be_visible()
        promoted = adopt_a_promotion(running, page, tmp_path)

        running.send(rows[rows["Store"] == 3])
        wait(lambda: running.report.stores_with_origin(day) == STORES, "the late store's forecast")
        page.goto("/")
        expect(page.get_by_role("main")).to_contain_text(re.compile("stores? need|Nobody"))
        expect(work.filter(has_text="Day missing")).to_have_count(0)

        page.goto("/stores/3")
        shown = page.locator(f'#days tr[data-date="{promoted}"]')
        form = page.locator("#adjust")
        form.get_by_label("From").fill(promoted)
        form.get_by_label("Number").fill("10")
        form.get_by_label("Reason").select_option("event")
        form.get_by_role("button", name="Adjust").click()
        expect(shown).to_contain_text("adjusted by")
        page.get_by_role("button", name="Retrain the model").click()
        said = page.locator("#job-said")
        expect(said).to_have_text(
            "The retraining: succeeded. Its forecast is in force.", timeout=300_000
        )
        expect(page.locator("#job-numbers summary")).to_contain_text("by a new model")

        with page.expect_download() as download:
            page.locator("section", has=page.locator("#days")).get_by_role(
                "link", name="Excel"
            ).click()
        sheet = openpyxl.load_workbook(io.BytesIO(download.value.path().read_bytes())).active
        assert sheet is not None
        names, *lines = sheet.iter_rows(values_only=True)
        points = {
            str(line["date"])[:10]: line["point"]
            for line in (dict(zip(names, values, strict=True)) for values in lines)
        }
        number = shown.locator("strong").get_attribute("data-number")
        assert points[promoted] == pytest.approx(float(number or "nan"))


def adopt_a_promotion(running: Running, page: Page, folder: Path) -> str:
    """Try a promotion on the page, adopt it, and see what was promised come into force."""
    candidates = page.locator(
        "#days tr:has([data-field=open]:checked):has([data-field=promo]:not(:checked))"
    )
    # The last days before it look ahead at it: what they teach the store's model changes, too.
    line = candidates.first
    day = line.get_attribute("data-date")
    assert day is not None
    line = page.locator(f'#days tr[data-date="{day}"]')
    before = line.locator("strong").inner_text()
    line.locator("[data-field=promo]").check()
    expect(page.locator("#scenario-said")).to_contain_text("80\u00a0% range")
    promised = line.locator("[data-what-if]").inner_text()
    assert promised != before
    # `PICTURES=docs/images` makes the README's picture anew.
    page.evaluate("scrollTo(0, 0)")
    page.screenshot(
        path=Path(os.environ.get("PICTURES", folder)) / "store-page.png", full_page=False
    )
    running.plans += 1
    page.get_by_role("button", name="Adopt this plan").click()
    expect(page.locator("#job-said")).to_have_text(
        "The adopted plan: succeeded. Its forecast is in force.", timeout=240_000
    )
    expect(line.locator("[data-field=promo]")).to_be_checked()
    expect(line.locator("strong")).to_have_text(promised)
    return day


def test_dagster_restarts_under_twenty_users(running: Running) -> None:
    """Reading goes on; what needs Dagster is a clean 503 meanwhile, and a run is never two."""
    stack, stop = running.stack, threading.Event()
    jobs: dict[int, set[str]] = defaultdict(set)
    statuses: list[int] = []
    headers = {"Authorization": f"Bearer {stack.service.token}"}

    def use(user: int) -> None:
        store = user % STORES + 1
        key = {"Idempotency-Key": f"restarted-{store}"}
        with httpx.Client(
            base_url=stack.service.url, headers=headers, trust_env=False, timeout=60
        ) as client:
            while not stop.is_set():
                assert client.get(f"/v1/forecasts?store={store}").status_code == 200
                answer = client.post(f"/v1/stores/{store}/refresh", headers=key)
                statuses.append(answer.status_code)
                if answer.status_code == 202:
                    jobs[store].add(answer.json()["job_id"])
                else:
                    assert answer.status_code in (429, 503), answer.text
                    assert answer.headers["content-type"] == "application/problem+json"
                    assert int(answer.headers["retry-after"]) > 0
                time.sleep(0.5)

    # First, so that no run is at work when it dies; what becomes of those, test_refresh_kills says.
    stack.kill_service(DAEMON)
    with ThreadPoolExecutor(20) as pool:
        users = [pool.submit(use, user) for user in range(20)]
        try:
            wait(lambda: 202 in statuses, "a refresh to be accepted")
            stack.kill_service(WEBSERVER)
            wait(lambda: 503 in statuses, "a refusal")
            stack.start_services({WEBSERVER, DAEMON})
            told = len(statuses)
            wait(lambda: statuses[told:].count(202) > 20, "refreshes to be accepted again")
        finally:
            stop.set()
        for user in users:
            user.result()
    assert {store: len(ids) for store, ids in jobs.items()} == dict.fromkeys(
        range(1, STORES + 1), 1
    )
    with httpx.Client(
        base_url=stack.service.url, headers=headers, trust_env=False, timeout=60
    ) as client:
        for store, (job,) in jobs.items():
            wait(lambda job=job: client.get(f"/v1/jobs/{job}").json()["done"], f"the job {job}")
            ended = client.get(f"/v1/jobs/{job}").json()
            if "never started" in ended["detail"]:
                # The webserver died between making the run and queueing it.
                key = {"Idempotency-Key": f"restarted-{store}"}
                again = client.post(f"/v1/stores/{store}/refresh", headers=key).json()["job_id"]
                assert again != job
                wait(lambda job=again: client.get(f"/v1/jobs/{job}").json()["done"], "it anew")
                ended = client.get(f"/v1/jobs/{again}").json()
            assert ended["status"] == "succeeded", ended


_LOGS = """
{ runsOrError(filter: {pipelineName: "refresh", statuses: [SUCCESS]}) { ... on Runs { results {
    tags { key value }
    eventConnection { events { __typename
        ... on LogMessageEvent { level message }
    } }
} } } }
"""


def test_a_refreshs_page_is_free_of_noise(running: Running) -> None:
    """Each step logs its number of rows. There are no warnings and no messages of libraries."""
    url = running.stack.dagster.graphql_url()
    runs = graphql(url, _LOGS)["runsOrError"]["results"]
    assert runs
    for run in runs:
        tags = {tag["key"] for tag in run["tags"] if not tag["key"].startswith((".", "dagster/"))}
        assert tags <= {"forecast/refresh", "forecast_service/store", "forecast_service/request"}
        events = run["eventConnection"]["events"]
        said = [event for event in events if event["__typename"] == "LogMessageEvent"]
        assert {event["level"] for event in said} == {"INFO"}
        assert sum(event["message"].endswith(" rows") for event in said) == 6, "one for each asset"
        assert len(said) <= 3 * 6, said
        assert any(event["__typename"] == "LogsCapturedEvent" for event in events)
    for file in running.stack.dagster.home.glob("storage/*/compute_logs/*.err"):
        lines = file.read_text().splitlines()
        if any(" - refresh - " in line for line in lines):
            assert [line for line in lines if " - dagster - INFO - refresh - " not in line] == []


def test_a_forecast_is_traced_to_kafka(running: Running) -> None:
    day = running.plan.live_days[2]
    output = running.run(
        sys.executable, "-m", "forecast_assets", "trace", "--store", "2", "--json",
        "--date", str(running.plan.live_days[4]), "--origin", str(running.plan.live_days[3]),
        component="reader",
    )  # fmt: skip
    found = json.loads(output)
    (seen,) = (row for row in found["sales"] if row["date"] == str(day))
    (stored,) = running.report._rows(
        "SELECT r.* FROM sales.raw_sales r JOIN sales.streams s USING (stream_id) "
        "WHERE s.topic = %s AND store = 2 AND date = %s",
        TOPIC,
        day,
    )
    assert (seen["topic"], seen["topic_partition"], seen["offset"], seen["sales"]) == (
        TOPIC,
        stored["topic_partition"],
        stored["kafka_offset"],
        stored["sales"],
    )
    links = {"dagster_run", "dagster_partition", "mlflow_run", "mlflow_model"}
    assert found["links"].keys() == links


DELETE_RUN = 'mutation { deletePipelineRun(runId: "x") { __typename } }'


def status_of(url: str, method: str = "GET", **headers: str) -> int:
    request = urllib.request.Request(url, method=method, headers=headers)  # noqa: S310
    try:
        with urllib.request.urlopen(request, timeout=10) as response:  # noqa: S310
            return int(response.status)
    except urllib.error.HTTPError as refused:
        return refused.code


def test_pages_of_others_and_other_users_get_in_nowhere(running: Running) -> None:
    doors = {
        f"{running.stack.dagster.url}/graphql": running.stack.dagster.token,
        f"{running.stack.mlflow.url}/api/2.0/mlflow/experiments/search": running.stack.mlflow.token,
        f"{running.stack.exporter.url}/metrics": running.stack.exporter.token,
    }
    for url, token in doors.items():
        signed_in = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        for method in ("GET", "POST"):
            assert status_of(url, method) == 401
            foreign_site = {**signed_in, "Origin": "http://evil.example"}
            assert status_of(url, method, **foreign_site) == 403
            assert status_of(url, method, **signed_in, Host="evil.example:3000") == 403
            assert status_of(url, method, **signed_in, **{"Sec-Fetch-Site": "cross-site"},
                             **{"Sec-Fetch-Mode": "no-cors"}) == 403  # fmt: skip
    address = running.stack.dagster.url
    token = {"Authorization": f"Bearer {running.stack.dagster.token}"}
    query = urllib.parse.urlencode({"query": DELETE_RUN})
    assert status_of(f"{address}/graphql?{query}", **token) == 405
    assert status_of(f"{address}/graphql?{query}", "POST", **token) == 415
    assert status_of(f"{address}/runs", **token) == 200
    assert status_of(running.stack.dagster.sign_in_link) == 200


_SHOWN_IN_THE_UI = """
{ instance { info }
  runsOrError(limit: 100) { ... on Runs { results { runConfigYaml tags { key value } } } }
  repositoriesOrError { ... on RepositoryConnection { nodes {
      allTopLevelResourceDetails { name configuredValues { key value } }
  } } }
}
"""


def test_no_secret_leaves_its_place(running: Running) -> None:
    stack = running.stack
    secrets = {
        **{f"password of {role}": text for role, text in stack.postgres.files.credentials
           .passwords.items()},
        "password of Kafka": stack.kafka.access_password,
        "token of Dagster": stack.dagster.token,
        "token of MLflow": stack.mlflow.token,
        "token of the service": stack.service.token,
        "token of Prometheus": stack.exporter.token,
        "path of the webhook": PLANTED,
    }  # fmt: skip
    assert any("streaming_job run" in line for line in running.command_lines)
    assert any("org.apache.spark" in line for line in running.command_lines)
    assert any("StorageTool" in line for line in running.command_lines)
    assert in_texts(secrets, running.command_lines) == set()
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            environment = process.environ()
            if process.uids().real != os.getuid() and environment.get(MARKER) == str(stack.folder):
                assert in_texts(secrets, environment.values()) == set()
    # PostgreSQL's own files hold what the tables hold, which come next.
    assert in_files(secrets, stack.folder, [stack.postgres.files.data]) == set()
    for database in ("sales", "dagster", "mlflow"):
        with stack.postgres.admin_connection(database) as connection:
            assert in_tables(secrets, connection) == set()
    shown = graphql(stack.dagster.graphql_url(), _SHOWN_IN_THE_UI)
    assert shown["repositoriesOrError"]["nodes"][0]["allTopLevelResourceDetails"]
    assert in_texts(secrets, [json.dumps(shown)]) == set()


def test_make_down_ends_the_stack(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    dotenv = running.stack.folder / ".env"
    write_dotenv(dotenv, running.stack.environment, running.stack.folder)
    monkeypatch.setattr(paths, "DOTENV", dotenv)
    monkeypatch.setattr(paths, "UP_STACK", running.stack.folder)
    monkeypatch.setattr(paths, "DEMO_STACK", running.stack.folder / "none")
    console = Console(record=True, width=200)
    show_status(console)
    told = console.export_text()
    assert running.stack.dagster.url in told
    assert "forecasts: newest origin" in told
    services = {record.name for record in running.stack.processes.alive()}
    assert services >= SERVICES - {"stream"}
    for service in services:
        assert service in told
    stop_background(console)
    assert set(console.export_text().split("ended: ")[1].strip().split(", ")) == services
    assert running.stack.processes.alive() == []
    assert not dotenv.exists()
    stop_background(console)
    assert "nothing was running" in console.export_text()
