"""MLflow's tracking server and registry: rows in PostgreSQL, artifacts in the stack's folder."""

import shutil
import sys
from pathlib import Path

from forecast_assets.servers.options import MLFLOW_TOKEN_VARIABLE
from local_stack import network
from local_stack.environment import component_environment
from local_stack.gated import Gated
from local_stack.http import answers, with_token
from local_stack.processes import START_SECONDS, Command, Processes, Record

NAME = "mlflow"
#: MLflow behind a gate that asks for a token; the containers start the same module.
MODULE = "forecast_assets.servers.mlflow_tracking"


class MlflowServer(Gated):
    """The embedded MLflow server of one stack folder."""

    def __init__(self, processes: Processes) -> None:
        """Remember where things are; nothing is started yet.

        Args:
            processes: The processes of the stack.
        """
        super().__init__(processes, NAME)

    def choose_port(self) -> None:
        """Choose the port early: Dagster can then start before the server answers.

        Raises:
            StackError: A requested port is in use.
        """
        self._take_port("STACK_MLFLOW_PORT")

    def start(self, database_url: str) -> Record:
        """Start the server.

        Args:
            database_url: Address of its database.

        Raises:
            StackError: A requested port is in use, or the server does not come up.
        """
        self.choose_port()
        record = self.processes.start(
            Command(
                name=NAME,
                arguments=[
                    sys.executable,
                    "-m",
                    MODULE,
                    "--host",
                    network.LOOPBACK,
                    "--port",
                    str(self.port),
                    "--artifacts",
                    str(self.folder / "artifacts"),
                ],
                # Secrets: in the environment they are hidden from other users' `ps`.
                environment=component_environment("mlflow", {})
                | {
                    "MLFLOW_BACKEND_STORE_URI": database_url,
                    MLFLOW_TOKEN_VARIABLE: self.token,
                },
                working_directory=self.folder,
            )
        )
        self.processes.wait_until_ready(record, self.answers, START_SECONDS, "answering /health")
        return record

    def answers(self) -> bool:
        """Tell whether the server answers."""
        return answers(with_token(f"{self.url}/health", self.token))

    def remove(self) -> None:
        """Remove the artifacts for good."""
        if self.folder.exists():
            shutil.rmtree(self.folder)

    @property
    def artifacts(self) -> Path:
        """Folder of the artifacts."""
        return self.folder / "artifacts"
