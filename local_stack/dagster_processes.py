"""Dagster's webserver and daemon, and the instance folder that both share.

The code server that both use is in `code_server.py`.
"""

import sys
import time
from collections.abc import Mapping
from pathlib import Path

import psycopg

from forecast_assets.servers.options import UI_TOKEN_VARIABLE
from local_stack import network, paths
from local_stack.environment import component_environment
from local_stack.errors import StackError
from local_stack.gated import Gated
from local_stack.http import answers, graphql, with_token
from local_stack.private import make_private
from local_stack.processes import START_SECONDS, Command, Processes, Record

WEBSERVER = "dagster-webserver"
DAEMON = "dagster-daemon"
#: The UI behind a gate that asks for a token; the containers start the same module.
WEBSERVER_MODULE = "forecast_assets.servers.dagster_ui"
#: Dagster's documented port; the stack takes any free one when it is in use.
USUAL_PORT = 3000

_LOCATIONS = """
{ workspaceOrError { ... on Workspace { locationEntries {
    name loadStatus
    locationOrLoadError { __typename ... on PythonError { message } }
} } } }
"""


_INSTIGATORS = """
{ repositoriesOrError { ... on RepositoryConnection { nodes {
    sensors { name sensorState { status } }
    schedules { name scheduleState { status } }
} } } }
"""


class Dagster(Gated):
    """The embedded Dagster of one stack folder."""

    def __init__(self, processes: Processes) -> None:
        """Remember where things are; nothing is started yet.

        Args:
            processes: The processes of the stack.
        """
        super().__init__(processes, "dagster_home")
        self.home = self.folder

    def prepare(self) -> None:
        """Make the instance folder, with a link to the repository's `dagster.yaml`."""
        make_private(self.home)
        link = self.home / "dagster.yaml"
        target = paths.REPOSITORY / "dagster.yaml"
        if link.is_symlink() and link.readlink() == target:
            return
        link.unlink(missing_ok=True)
        link.symlink_to(target)

    def start_webserver(self, values: Mapping[str, str], workspace: Path) -> Record:
        """Start the webserver and wait until the asset graph is loaded.

        Args:
            values: The contract's variables.
            workspace: The workspace file that names the code server.

        Raises:
            StackError: A requested port is in use, the server does not come up, or the asset graph
                does not load.
        """
        self.prepare()
        self._take_port("STACK_UI_PORT", USUAL_PORT)
        record = self.processes.start(
            Command(
                name=WEBSERVER,
                arguments=[
                    sys.executable,
                    "-m",
                    WEBSERVER_MODULE,
                    "--host",
                    network.LOOPBACK,
                    "--port",
                    str(self.port),
                    "--workspace",
                    str(workspace),
                ],
                environment=component_environment("dagster", values)
                | {UI_TOKEN_VARIABLE: self.token},
            )
        )
        self.processes.wait_until_ready(record, self.answers, START_SECONDS, "answering")
        self.processes.wait_until_ready(
            record, self._is_ready, START_SECONDS, "having loaded the asset graph"
        )
        return record

    def start_daemon(self, values: Mapping[str, str], workspace: Path) -> Record:
        """Start the daemon and wait for its first heartbeat.

        Args:
            values: The contract's variables.
            workspace: The workspace file that names the code server.

        Raises:
            StackError: The daemon does not come up.
        """
        self.prepare()
        started = time.time()
        record = self.processes.start(
            Command(
                name=DAEMON,
                arguments=[
                    paths.script("dagster-daemon"),
                    "run",
                    "--workspace",
                    str(workspace),
                ],
                environment=component_environment("dagster", values),
                # Its runs end with it, and record that they were ended.
                whole_family=True,
                stop_seconds=10,
            )
        )
        self.processes.wait_until_ready(
            record,
            lambda: _has_heartbeat(values["DAGSTER_POSTGRES_URL"], started),
            START_SECONDS,
            "sending a heartbeat",
        )
        return record

    def graphql_url(self) -> str:
        """Address of the GraphQL endpoint with its token, for `http.graphql`: never print it."""
        return with_token(f"{self.url}/graphql", self.token)

    def is_loaded(self) -> bool:
        """Tell whether the webserver has loaded the asset graph.

        Raises:
            StackError: The graph does not load.
            OSError: The webserver does not answer.
            ValueError: It answers with an error.
        """
        data = graphql(self.graphql_url(), _LOCATIONS)
        entries = data["workspaceOrError"].get("locationEntries", [])
        for entry in entries:
            loaded = entry["locationOrLoadError"] or {}
            if loaded.get("__typename") == "PythonError":
                lines = loaded["message"].strip().splitlines()
                raise StackError(
                    f"The asset graph does not load ({lines[-1] if lines else 'no message'}): "
                    "run `dg check defs` to see where."
                )
        return bool(entries) and all(entry["loadStatus"] == "LOADED" for entry in entries)

    def answers(self) -> bool:
        """Tell whether the webserver answers."""
        return answers(with_token(f"{self.url}/server_info", self.token))

    def switched_off(self) -> list[str]:
        """Return the sensors and schedules that are switched off.

        Raises:
            OSError: The webserver does not answer.
            ValueError: It answers with an error.
        """
        found = graphql(self.graphql_url(), _INSTIGATORS)["repositoriesOrError"].get("nodes", [])
        return sorted(
            one["name"]
            for repository in found
            for kind, state in (("sensors", "sensorState"), ("schedules", "scheduleState"))
            for one in repository[kind]
            if one[state]["status"] == "STOPPED"
        )

    def _is_ready(self) -> bool:
        try:
            return self.is_loaded()
        except (OSError, ValueError):
            return False


def _has_heartbeat(database_url: str, since: float) -> bool:
    """Tell whether the sensor daemon has reported since a time (epoch seconds)."""
    try:
        with psycopg.connect(database_url, connect_timeout=5) as connection:
            row = connection.execute(
                "SELECT count(*) FROM daemon_heartbeats WHERE daemon_type = 'SENSOR' "
                "AND \"timestamp\" AT TIME ZONE 'UTC' > to_timestamp(%s)",
                (since,),
            ).fetchone()
    except (psycopg.errors.UndefinedTable, psycopg.OperationalError):
        return False
    return bool(row and row[0])
