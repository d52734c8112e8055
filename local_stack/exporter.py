"""The exporter as a process of the stack, and a configuration for a Prometheus that watches it.

Prometheus itself is no part of the stack: `docs/operations.md` says how to start one.
"""

import sys
from collections.abc import Mapping

from forecast_assets.servers.options import METRICS_TOKEN_VARIABLE
from local_stack import network, paths
from local_stack.environment import component_environment
from local_stack.gated import Gated
from local_stack.http import answers, with_token
from local_stack.private import make_private, write_private
from local_stack.processes import Command, Processes, Record

NAME = "exporter"
MODULE = "forecast_assets.servers.exporter"
START_SECONDS = 120.0
#: Seconds between two scrapes, and after which one is given up: reading the databases takes seconds
#: on a busy machine. The same as in deploy/monitoring/prometheus.yml.
SCRAPE_SECONDS, SCRAPE_TIMEOUT_SECONDS = 15, 10

_CONFIG = """\
# Written by the stack: prometheus --config.file=<this file> --web.listen-address=127.0.0.1:9090
global:
  scrape_interval: {seconds}s
  scrape_timeout: {timeout}s
  evaluation_interval: {seconds}s
rule_files: ["{rules}"]
scrape_configs:
"""
_JOB = """\
  - job_name: {name}
    authorization: {{credentials_file: "{token}"}}
    static_configs: [{{targets: ["{target}"]}}]
"""


class Exporter(Gated):
    """The embedded exporter of one stack folder."""

    def __init__(self, processes: Processes) -> None:
        """Remember where things are; nothing is started yet.

        Args:
            processes: The processes of the stack.
        """
        super().__init__(processes, NAME)
        self.config = self.folder / "prometheus.yml"
        self._stream_port_file = self.folder / "stream-port"

    def prepare(self) -> None:
        """Make the folder of the token, which stream and service ask for as well."""
        make_private(self.folder)

    def stream_port(self) -> int:
        """Return the port for the stream's own metrics.

        Raises:
            StackError: A requested port is in use.
        """
        port = network.choose_port(
            "STREAM_METRICS_PORT", network.remembered_port(self._stream_port_file)
        )
        self._stream_port_file.write_text(str(port))
        return port

    def start(self, values: Mapping[str, str]) -> Record:
        """Start the exporter and wait until it answers.

        Args:
            values: The contract's variables.

        Raises:
            StackError: A requested port is in use, or the exporter does not come up.
        """
        self._take_port("STACK_EXPORTER_PORT")
        record = self.processes.start(
            Command(
                name=NAME,
                arguments=[
                    *(sys.executable, "-m", MODULE),
                    *("--host", network.LOOPBACK, "--port", str(self.port)),
                ],
                environment=component_environment(NAME, values)
                | {METRICS_TOKEN_VARIABLE: self.token},
            )
        )
        self.processes.wait_until_ready(record, self.answers, START_SECONDS, "answering")
        return record

    def answers(self) -> bool:
        """Tell whether the exporter answers."""
        return answers(with_token(f"{self.url}/health", self.token))

    def write_config(self, service_port: int | None, scrape_seconds: int = SCRAPE_SECONDS) -> None:
        """Write the configuration of a Prometheus that watches this stack.

        Args:
            service_port: The service's port; None if it does not run.
            scrape_seconds: Seconds between two scrapes.
        """
        ports = {
            "exporter": self.port,
            "service": service_port,
            "stream": network.remembered_port(self._stream_port_file),
        }
        head = _CONFIG.format(
            rules=paths.ALERT_RULES,
            seconds=scrape_seconds,
            timeout=min(scrape_seconds, SCRAPE_TIMEOUT_SECONDS),
        )
        text = head + "".join(
            _JOB.format(name=name, token=self._token_file, target=f"{network.LOOPBACK}:{port}")
            for name, port in ports.items()
            if port is not None
        )
        write_private(self.config, text)
