"""Dagster's UI behind the gate: `python -m forecast_assets.servers.dagster_ui`.

The environment's `DAGSTER_WEBSERVER_TOKEN` lets in. Everything else is as `dagster-webserver` has
it; `DAGSTER_HOME` names the instance.
"""

from pathlib import Path
from typing import Annotated

import typer
import uvicorn

from forecast_assets.servers.gate import Gate, allowed_hosts
from forecast_assets.servers.options import (
    UI_TOKEN_VARIABLE,
    AllowedHosts,
    Host,
    PathPrefix,
    Port,
    required_token,
)

NAME = "dagster"
#: Milliseconds that a statement of the UI may take in PostgreSQL, as in `dagster-webserver`.
STATEMENT_MS = 15_000
#: Seconds after which a kept connection is opened anew, and how many the UI may add at a peak.
POOL_RECYCLE_SECONDS = 3600
POOL_OVERFLOW = 20
#: Milliseconds between two looks of an open page at live data.
LIVE_DATA_MS = 2_000


def serve(
    workspace: Annotated[Path, typer.Option(help="The workspace file.")],
    host: Host = "127.0.0.1",
    port: Port = 3000,
    allowed_host: AllowedHosts = None,
    path_prefix: PathPrefix = "",
) -> None:
    """Serve Dagster's UI to whoever brings the token."""
    from dagster import DagsterInstance
    from dagster._core.workspace.context import WorkspaceProcessContext
    from dagster._core.workspace.load_target import WorkspaceFileTarget
    from dagster._utils.log import configure_loggers
    from dagster_webserver.app import create_app_from_workspace_process_context
    from dagster_webserver.version import __version__

    token = required_token(UI_TOKEN_VARIABLE)
    configure_loggers()
    with DagsterInstance.get() as instance:
        instance.optimize_for_webserver(STATEMENT_MS, POOL_RECYCLE_SECONDS, POOL_OVERFLOW)
        with WorkspaceProcessContext(
            instance,
            version=__version__,
            workspace_load_target=WorkspaceFileTarget(paths=[str(workspace)]),
        ) as context:
            app = create_app_from_workspace_process_context(
                context, path_prefix=path_prefix, live_data_poll_rate=LIVE_DATA_MS
            )
            gate = Gate(
                app,
                hosts=allowed_hosts(host, port, allowed_host or ()),
                token=token,
                name=NAME,
                graphql_paths=(f"{path_prefix}/graphql",),
            )
            # At its "info" level, uvicorn would log addresses, sign-in links among them.
            uvicorn.run(gate, host=host, port=port, log_level="warning")


if __name__ == "__main__":
    typer.run(serve)
