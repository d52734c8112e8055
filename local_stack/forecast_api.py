"""The forecasting service as a process of the stack, and the token that the stack makes for it."""

import sys
from collections.abc import Mapping

import psycopg

from forecast_service.tokens import SCOPES, digest_of
from local_stack import network
from local_stack.environment import component_environment
from local_stack.gated import WebServer
from local_stack.http import answers, get_json
from local_stack.processes import START_SECONDS, Command, Processes, Record
from warehouse.service import tokens

NAME = "service"
MODULE = "forecast_service"
URL_VARIABLE = "FORECAST_SERVICE_URL"
TOKEN_VARIABLE = "FORECAST_SERVICE_TOKEN"  # noqa: S105 - a name
#: The name of the stack's own token in the database; it has every scope.
TOKEN_NAME = "local-stack"  # noqa: S105 - a name
USUAL_PORT = 8080


class ForecastService(WebServer):
    """The embedded service of one stack folder."""

    def __init__(self, processes: Processes) -> None:
        """Remember where things are; nothing is started yet.

        Args:
            processes: The processes of the stack.
        """
        super().__init__(processes, NAME)

    @property
    def sign_in_link(self) -> str:
        """Address that opens the planners' pages and signs in; for its owner alone.

        Browsers keep what is behind the `#` to themselves: no server and no log sees the token.
        """
        return f"{self.url}/sign-in#{self.token}"

    def start(self, values: Mapping[str, str]) -> Record:
        """Make the token valid, start the service and wait until it answers.

        Args:
            values: The contract's variables.

        Raises:
            StackError: A requested port is in use, or the service does not come up.
        """
        self._take_port("STACK_SERVICE_PORT", USUAL_PORT)
        self._allow_token(values["OWNER_DATABASE_URL"])
        record = self.processes.start(
            Command(
                name=NAME,
                arguments=[
                    *(sys.executable, "-m", MODULE, "serve"),
                    *("--host", network.LOOPBACK, "--port", str(self.port)),
                ],
                environment=component_environment("service", values),
                stop_seconds=15,
            )
        )
        self.processes.wait_until_ready(record, self.answers, START_SECONDS, "answering")
        return record

    def answers(self) -> bool:
        """Tell whether the service answers."""
        return answers(f"{self.url}/health/live")

    def readiness(self) -> dict[str, str]:
        """Return what the service says of what it depends on: `ok`, or what is wrong.

        Raises:
            OSError: The service does not answer.
            ValueError: It answers something else.
        """
        checks: dict[str, str] = get_json(f"{self.url}/health/ready")["checks"]
        return checks

    def _allow_token(self, owner_url: str) -> None:
        digest = digest_of(self.token)
        with psycopg.connect(
            owner_url, connect_timeout=5, cursor_factory=psycopg.RawCursor
        ) as connection:
            connection.execute(tokens.CREATE, (TOKEN_NAME, digest, list(SCOPES)))
