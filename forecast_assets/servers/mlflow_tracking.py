"""MLflow's tracking server behind the gate: `python -m forecast_assets.servers.mlflow_tracking`.

The environment's `MLFLOW_TRACKING_TOKEN` lets in; MLflow's clients read the same variable and send
it. `MLFLOW_BACKEND_STORE_URI` is the address of the database. `mlflow server` has no place for a
wrapper, and its own accounts are kept in a second database, so the application is served from
here, set up as `mlflow server` does it.
"""

import os
from pathlib import Path
from typing import Annotated

import typer
import uvicorn

from forecast_assets.servers.gate import Gate, allowed_hosts
from forecast_assets.servers.options import (
    MLFLOW_TOKEN_VARIABLE,
    AllowedHosts,
    Host,
    Port,
    required_token,
)

NAME = "mlflow"
DATABASE_VARIABLE = "MLFLOW_BACKEND_STORE_URI"
#: Artifacts go through the server, so clients need no access to its folder.
ARTIFACT_ROOT = "mlflow-artifacts:/"


def serve(
    artifacts: Annotated[Path, typer.Option(help="The folder of the artifacts.")],
    host: Host = "127.0.0.1",
    port: Port = 5000,
    allowed_host: AllowedHosts = None,
) -> None:
    """Serve MLflow to whoever brings the token."""
    token = required_token(MLFLOW_TOKEN_VARIABLE)
    database = os.environ.get(DATABASE_VARIABLE, "").strip()
    if not database:
        raise typer.BadParameter(f"Set {DATABASE_VARIABLE} to the address of MLflow's database.")
    hosts = allowed_hosts(host, port, allowed_host or ())
    _prepare(database, artifacts, hosts)
    from mlflow.server.fastapi_app import app

    gate = Gate(app, hosts=hosts, token=token, name=NAME)
    # At its "info" level, uvicorn would log addresses, sign-in links among them.
    uvicorn.run(gate, host=host, port=port, log_level="warning")


def _prepare(database: str, artifacts: Path, hosts: list[str]) -> None:
    """Set what MLflow's application reads at import, and bring its tables up to date."""
    # Before anything of MLflow's server is imported: it makes its list of hosts then.
    os.environ |= {
        # MLflow checks Host and Origin as well, by a list of its own.
        "MLFLOW_SERVER_ALLOWED_HOSTS": ",".join(hosts),
        "MLFLOW_SERVER_CORS_ALLOWED_ORIGINS": ",".join(
            f"{scheme}://{name}" for name in hosts for scheme in ("http", "https")
        ),
        # Its assistant runs commands on the server's machine: never for a client elsewhere.
        "MLFLOW_ENABLE_REMOTE_ASSISTANT": "false",
        # Its job queue (for judging language models) costs five processes.
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    }
    from mlflow.server import constants

    os.environ |= {
        constants.BACKEND_STORE_URI_ENV_VAR: database,
        constants.REGISTRY_STORE_URI_ENV_VAR: database,
        constants.ARTIFACT_ROOT_ENV_VAR: ARTIFACT_ROOT,
        constants.ARTIFACTS_DESTINATION_ENV_VAR: str(artifacts),
        constants.SERVE_ARTIFACTS_ENV_VAR: "true",
    }
    from mlflow.server.handlers import initialize_backend_stores

    initialize_backend_stores(database, database, ARTIFACT_ROOT)


if __name__ == "__main__":
    typer.run(serve)
