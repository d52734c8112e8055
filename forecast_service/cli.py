"""The command line: `serve`, and `token create|list|revoke`."""

import os
from typing import Annotated, Any

import psycopg
import typer
from dotenv import dotenv_values

from forecast_service.settings import SettingsError, load_settings
from warehouse.environment import DOTENV_FILES
from warehouse.service import tokens as statements

app = typer.Typer(no_args_is_help=True, add_completion=False, help="The API over the forecasts.")
token_app = typer.Typer(
    no_args_is_help=True, help="Access tokens, made and revoked with OWNER_DATABASE_URL."
)
app.add_typer(token_app, name="token")

#: Seconds that requests in progress get to end.
SHUTDOWN_SECONDS = 10
_OWNER = "OWNER_DATABASE_URL"


def _fail(message: str) -> typer.Exit:
    typer.echo(message, err=True)
    return typer.Exit(1)


@app.command()
def serve(
    host: Annotated[str | None, typer.Option(help="Default: SERVICE_HOST.")] = None,
    port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="Default: SERVICE_PORT.")
    ] = None,
) -> None:
    """Serve the API until interrupted."""
    import uvicorn

    from forecast_service.app import create_app
    from forecast_service.telemetry import configure_logs

    try:
        settings = load_settings()
    except SettingsError as error:
        raise _fail(str(error)) from None
    configure_logs()
    uvicorn.run(
        create_app(settings),
        host=host or settings.host,
        port=port or settings.port,
        log_config=None,
        log_level="warning",
        # The service logs requests itself, by route.
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=SHUTDOWN_SECONDS,
    )


@token_app.command()
def create(
    name: Annotated[str, typer.Argument(help="Whose token it is. Its old one stops working.")],
    scope: Annotated[
        list[str] | None,
        typer.Option(help="read, plan, train or operate; may be given again. Default: read."),
    ] = None,
) -> None:
    """Make a token and print it once; the database keeps only its SHA-256."""
    from forecast_service.tokens import SCOPES, digest_of, new_token

    scopes = sorted(set(scope or ["read"]))
    unknown = sorted(set(scopes) - set(SCOPES))
    if unknown:
        raise typer.BadParameter(
            f"{', '.join(unknown)}: the scopes are {', '.join(SCOPES)}", param_hint="--scope"
        )
    if not name.strip() or len(name) > 100 or not name.isprintable():
        raise typer.BadParameter("1 to 100 printable signs are expected", param_hint="NAME")
    token = new_token()
    _run(statements.CREATE, (name, digest_of(token), scopes))
    typer.echo(token)


@token_app.command("list")
def list_tokens() -> None:
    """List the tokens' names, scopes and ages."""
    for name, scopes, created, revoked in _run(statements.LIST, ()):
        state = f"revoked {revoked:%Y-%m-%d %H:%M}" if revoked else "valid"
        typer.echo(f"{name}\t{','.join(scopes)}\tmade {created:%Y-%m-%d %H:%M}\t{state}")


@token_app.command()
def revoke(name: Annotated[str, typer.Argument(help="The token's name.")]) -> None:
    """Revoke a token; running services forget it within ten seconds."""
    if not _run(statements.REVOKE, (name,)):
        raise _fail(f"no valid token is named {name!r}; `token list` lists them")


def _run(statement: str, parameters: tuple[object, ...]) -> list[tuple[Any, ...]]:
    """Run a statement as the owner of the tables; the service itself never has this address."""
    values: dict[str, str | None] = {}
    for path in DOTENV_FILES:
        values |= dotenv_values(path)
    address = os.environ.get(_OWNER) or values.get(_OWNER)
    if not address:
        raise _fail(f"{_OWNER} is not set: `make up` writes it to .env")
    try:
        with psycopg.connect(
            address, connect_timeout=5, cursor_factory=psycopg.RawCursor
        ) as connection:
            cursor = connection.execute(statement, parameters)
            return cursor.fetchall() if cursor.description else []
    except psycopg.Error as error:
        raise _fail(f"the sales database: {str(error).strip().splitlines()[0]}") from None
