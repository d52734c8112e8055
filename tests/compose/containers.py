"""The containers of docker-compose.yml as a handle: start, commands inside, kills, questions.

What the tests expect of them is in `test_rehearsal.py`; where images come from that no registry
serves, in `base_images/build.sh`.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg

from local_stack import http, network, paths

PROJECT = "forecast-rehearsal"
#: docker-compose.yml gives its network a name of its own, so two stacks would share it.
NETWORK = "forecast_network"
MADE_UP = "/var/lib/app/made-up"
#: Seconds that the slowest steps may take on a busy machine of two cores.
FIRST_FORECASTS_SECONDS = 1500.0
REFRESH_SECONDS = 600.0
POLL_SECONDS = 1.0

TERMINATE = """mutation { terminateRun(runId: "%s") {
    __typename ... on TerminateRunSuccess { run { status } }
    ... on TerminateRunFailure { message } ... on PythonError { message }
} }"""
LAUNCH = """mutation { launchRun(executionParams: {
    selector: {repositoryLocationName: "forecast_assets", repositoryName: "__repository__",
        jobName: "%s"}, runConfigData: {}, executionMetadata: {tags: %s}
}) { __typename ... on LaunchRunSuccess { run { runId } } ... on Error { message } } }"""


def settings_text(changes: dict[str, str]) -> str:
    """Return the example of the settings with passwords of its own and some lines changed."""
    example = (paths.REPOSITORY / "deploy" / "docker" / ".env.example").read_text()
    filled = re.sub(
        r"^(\w+(?:PASSWORD|TOKEN|SECRET))=$",
        lambda line: f"{line[1]}={secrets.token_urlsafe(18)}",
        example,
        flags=re.MULTILINE,
    )
    # The last line of a name counts.
    return filled + "".join(f"{name}={value}\n" for name, value in changes.items())


@dataclass
class Containers:
    """The stack of one project; everything in it is removed at the end.

    Attributes:
        settings: The file of its settings.
        files: The files that describe it, after docker-compose.yml.
    """

    settings: Path
    files: tuple[str, ...] = ()

    def compose(self, *arguments: str, check: bool = True) -> str:
        """Run Compose; return what it printed.

        Raises:
            AssertionError: It failed.
        """
        return _run(*self._command(*arguments), check=check)

    def _command(self, *arguments: str) -> list[str]:
        files = [part for name in ("docker-compose.yml", *self.files) for part in ("-f", name)]
        return [
            paths.script("docker-compose"),
            *files,
            f"--project-name={PROJECT}",
            f"--env-file={self.settings}",
            *arguments,
        ]

    def script(self, word: str, folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run what `make compose-WORD` runs, on these containers.

        Args:
            word: up, down, backup or restore.
            folder: Where Docker finds Compose as its plugin; filled if it is empty.
            variables: What make would pass on.
        """
        plugin = folder / "cli-plugins" / "docker-compose"
        if not plugin.exists():
            plugin.parent.mkdir(parents=True)
            plugin.symlink_to(paths.script("docker-compose"))
        return subprocess.run(
            ["sh", "deploy/docker/compose.sh", word],
            cwd=paths.REPOSITORY,
            env=os.environ
            | {
                "DOCKER_CONFIG": str(folder),
                "COMPOSE_PROJECT_NAME": PROJECT,
                "COMPOSE_SETTINGS": str(self.settings),
            }
            | variables,
            capture_output=True,
            text=True,
            check=False,
        )

    def start(self, *services: str) -> None:
        """Start services, or all, and those that they need."""
        self.compose("up", "--detach", "--no-build", *services)

    def recreate(self, *services: str) -> None:
        """Kill services without warning, remove their containers and make new ones."""
        for service in services:
            _run("docker", "rm", "--force", self.name(service))
        self.compose("up", "--detach", "--no-build", "--no-deps", *services)

    def kill(self, service: str, number: int = 1) -> None:
        """Kill one container of a service; it stays down."""
        _run("docker", "kill", self.name(service, number))

    def crash(self, service: str) -> None:
        """Kill a service's first process from outside, as a lack of memory does."""
        pid = int(self.inspect(service)["State"]["Pid"])
        _run("kill", "-9", str(pid))

    def remove(self) -> None:
        """Remove containers, network and volumes."""
        self.compose("--profile=*", "down", "--volumes", "--timeout=5", check=False)

    def name(self, service: str, number: int = 1) -> str:
        """Return a container's name."""
        return f"{PROJECT}-{service}-{number}"

    def inspect(self, service: str) -> dict[str, Any]:
        """Return what the engine knows of a service's container."""
        known: list[dict[str, Any]] = json.loads(_run("docker", "inspect", self.name(service)))
        return known[0]

    def inside(self, service: str, *command: str, check: bool = True) -> str:
        """Run a command in a service's container; return what it printed.

        Raises:
            AssertionError: It failed.
        """
        return _run("docker", "exec", self.name(service), *command, check=check)

    def logs(self, service: str) -> str:
        """Return what a service has printed."""
        return self.compose("logs", "--no-log-prefix", "--no-color", service)

    def setting(self, name: str) -> str:
        """Return a setting's value."""
        return re.findall(rf"^{name}=(.*)$", self.settings.read_text(), re.MULTILINE)[-1]

    # Questions -----------------------------------------------------------------------------------

    def rows(self, database: str, query: str) -> list[tuple[Any, ...]]:
        """Ask a database as its superuser, by the container's own address."""
        networks = self.inspect("postgres")["NetworkSettings"]["Networks"]
        address = networks[NETWORK]["IPAddress"]
        with psycopg.connect(
            host=address,
            dbname=database,
            user="postgres",
            password=self.setting("POSTGRES_PASSWORD"),
            connect_timeout=5,
            autocommit=True,
        ) as connection:
            return connection.execute(query).fetchall()

    def value(self, database: str, query: str) -> Any:
        """Ask a database for one value."""
        return self.rows(database, query)[0][0]

    def graphql(self, query: str) -> dict[str, Any]:
        """Ask Dagster through the published port."""
        address = f"http://{network.LOOPBACK}:{self.setting('STACK_UI_PORT')}/graphql"
        return http.graphql(
            http.with_token(address, self.setting("DAGSTER_WEBSERVER_TOKEN")), query
        )

    def launch(self, job: str, tags: dict[str, str] | None = None) -> str:
        """Start a run of a job; return its id."""
        listed = ", ".join(
            f"{{key: {json.dumps(key)}, value: {json.dumps(value)}}}"
            for key, value in (tags or {}).items()
        )
        answer = self.graphql(LAUNCH % (job, f"[{listed}]"))["launchRun"]
        assert answer["__typename"] == "LaunchRunSuccess", answer
        return str(answer["run"]["runId"])

    def run_status(self, run_id: str) -> str:
        """Return a run's status."""
        return str(self.value("dagster", f"SELECT status FROM runs WHERE run_id = '{run_id}'"))

    def running(self, job: str) -> str | None:
        """Return the id of a run of a job that is at work, None if there is none."""
        rows = self.rows(
            "dagster",
            "SELECT run_id FROM runs WHERE status = 'STARTED' "
            f"AND pipeline_name = '{job}' ORDER BY id DESC LIMIT 1",
        )
        return str(rows[0][0]) if rows else None

    def newest_refresh(self) -> datetime:
        """Return when forecasts were last committed; long ago if they never were."""
        finished = self.value("sales", "SELECT max(finished_at) FROM sales.refreshes")
        return finished or datetime.min.replace(tzinfo=UTC)

    def open_changes(self) -> int:
        """Return how many changes wait for their forecasts."""
        return int(self.value("sales", "SELECT count(*) FROM sales.changes WHERE done_at IS NULL"))

    # Steps ---------------------------------------------------------------------------------------

    def produce_last_day(self) -> int:
        """Send the last day's made-up sales as events; return how many."""
        last = self.value("sales", "SELECT max(date) FROM sales.raw_sales")
        return self.produce(str(last), str(last))

    def produce(self, first: str, last: str) -> int:
        """Send the made-up sales of some days as events; return how many."""
        sending = self.run_stream(
            "produce", f"--data={MADE_UP}", f"--date={first}", f"--until={last}"
        )
        said, _ = sending.communicate()
        assert sending.returncode == 0, said
        return int(re.findall(r"sent ([\d,]+) events", said)[0].replace(",", ""))

    def run_stream(self, *command: str, **variables: str) -> subprocess.Popen[str]:
        """Start a command of the stream in a container of its own."""
        return subprocess.Popen(
            self._command(
                "run", "--rm", "--no-deps", "-T",
                *(f"--env={name}={value}" for name, value in variables.items()),
                f"--volume={PROJECT}_made-up:{MADE_UP}:ro",
                "stream", "python", "-m", "streaming_job", *command,
            ),
            cwd=paths.REPOSITORY,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )  # fmt: skip

    def wait(self, done: Callable[[], object], seconds: float, what: str) -> float:
        """Wait for a condition; return the seconds that it took.

        Raises:
            AssertionError: The time is up; the newest runs are in the message.
        """
        began = time.monotonic()
        while True:
            try:
                if done():
                    return time.monotonic() - began
            except (psycopg.OperationalError, OSError):
                pass  # What was killed is not there again yet.
            if time.monotonic() - began > seconds:
                runs = self.rows(
                    "dagster", "SELECT run_id, pipeline_name, status FROM runs ORDER BY id DESC"
                )
                raise AssertionError(f"{what} did not come within {seconds:.0f} s; runs: {runs}")
            time.sleep(POLL_SECONDS)


def _run(*command: str, check: bool = True) -> str:
    answer = subprocess.run(
        command, cwd=paths.REPOSITORY, capture_output=True, text=True, check=False
    )
    if check and answer.returncode:
        raise AssertionError(f"{' '.join(command)}: {answer.stdout[-2000:]}{answer.stderr[-2000:]}")
    return answer.stdout
