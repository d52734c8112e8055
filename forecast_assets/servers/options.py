"""The options that the servers take, and the token from the environment."""

import os
from typing import Annotated

import typer

from forecast_assets.servers.gate import TOKEN_CHARACTERS

#: The variables with the tokens that let in; MLflow's clients read theirs, too.
UI_TOKEN_VARIABLE = "DAGSTER_WEBSERVER_TOKEN"  # noqa: S105 - a name
MLFLOW_TOKEN_VARIABLE = "MLFLOW_TRACKING_TOKEN"  # noqa: S105 - a name
#: The variable with the token that Prometheus sends, for metrics alone.
METRICS_TOKEN_VARIABLE = "METRICS_TOKEN"  # noqa: S105 - a name

Host = Annotated[str, typer.Option(help="The address to listen on.")]
Port = Annotated[int, typer.Option(min=1, max=65535, help="The port to listen on.")]
AllowedHosts = Annotated[
    list[str] | None,
    typer.Option(
        help="A further name:port under which the server is reached; may be given again. "
        "Requests to other names are refused."
    ),
]


PathPrefix = Annotated[
    str,
    typer.Option(help="The path under which a proxy serves everything, like /dagster."),
]


def required_token(variable: str) -> str:
    """Return the token that lets in.

    Raises:
        BadParameter: The variable is missing, or its token can be guessed.
    """
    token = os.environ.get(variable, "").strip()
    if len(token) < TOKEN_CHARACTERS:
        raise typer.BadParameter(
            f"Set {variable} to a secret of at least {TOKEN_CHARACTERS} characters: without it, "
            "the server does not start, since anybody could use it."
        )
    return token
