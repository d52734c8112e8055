"""The settings that a user makes for the embedded stack: in the shell, or to keep in `.env.local`.

The stack writes `.env` with the addresses that it chose and removes it when it stops.
`.env.local` is the user's: it is only read. The command lines read both.
"""

import difflib
import os
from collections.abc import MutableMapping
from functools import cache
from pathlib import Path

from dotenv import dotenv_values

from forecasting.threads import BLAS_VARIABLE
from local_stack.errors import StackError

#: Ports that a service takes only when asked to.
PORTS = (
    "STACK_UI_PORT",
    "STACK_POSTGRES_PORT",
    "STACK_KAFKA_PORT",
    "STACK_KAFKA_CONTROLLER_PORT",
    "STACK_MLFLOW_PORT",
    "STACK_SERVICE_PORT",
    "STACK_EXPORTER_PORT",
)
#: The one variable of the contract that the stack takes from its user.
JAVA_HOME = "JAVA_HOME"
#: A setting that is a secret: for Dagster's processes alone.
WEBHOOK = "FORECAST_ALERT_WEBHOOK"


@cache
def asset_settings() -> frozenset[str]:
    """Return the variables that the asset graph reads."""
    from forecast_assets.settings import Settings

    return frozenset(field.alias for field in Settings.model_fields.values() if field.alias)


@cache
def stream_settings() -> frozenset[str]:
    """Return the variables that the stream reads."""
    from streaming_job.environment import settings_variables

    return settings_variables()


@cache
def service_settings() -> frozenset[str]:
    """Return the variables that the service reads."""
    from forecast_service.settings import Settings

    return frozenset(field.alias for field in Settings.model_fields.values() if field.alias)


def all_settings() -> frozenset[str]:
    """Return the variables that any component reads."""
    return asset_settings() | stream_settings() | service_settings()


def settings_of(component: str) -> frozenset[str]:
    """Return the variables that are settings of a component, the contract's included."""
    both = asset_settings() | stream_settings()
    return {
        "stream": stream_settings(),
        "producer": stream_settings(),
        "dagster": both,
        "loader": asset_settings() - {WEBHOOK},
        "reader": both - {WEBHOOK},
        "service": service_settings(),
        # It judges by the checks' own limits.
        "exporter": asset_settings() - {WEBHOOK},
    }.get(component, frozenset()) | {BLAS_VARIABLE}


def read_own_settings(
    path: Path, decided: tuple[str, ...], environment: MutableMapping[str, str] = os.environ
) -> None:
    """Take the settings of `.env.local` into the environment; what the shell exports wins.

    Args:
        path: The file; it may be missing.
        decided: The variables that the stack itself decides.
        environment: The environment, by default this process's.

    Raises:
        StackError: The file cannot be read, or a line of it is no setting or not the user's.
    """
    if not path.exists():
        return
    try:
        values = dotenv_values(path, interpolate=False)
    except (OSError, UnicodeDecodeError) as error:
        raise StackError(
            f"{path} cannot be read ({error}): make it a text file in UTF-8."
        ) from error
    known = {*all_settings(), *PORTS, BLAS_VARIABLE}
    for name, value in values.items():
        if name in decided and name != JAVA_HOME:
            raise StackError(
                f"{path} sets {name}, which the stack decides itself: remove that line, or run "
                "the services by hand."
            )
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]}?" if near else "remove that line."
            raise StackError(f"{path} sets {name}, which is no setting of .env.example: {hint}")
        if value:
            environment.setdefault(name, value)


def keep_added_lines(path: Path, decided: tuple[str, ...]) -> None:
    """Move settings that a user has added to the stack's `.env` to `.env.local`.

    Args:
        path: The `.env`; it may be missing.
        decided: The variables that the stack itself writes there.

    A setting that `.env.local` has already stays as it is there.
    """
    own = path.with_name(path.name + ".local")
    if not path.exists():
        return
    present = dotenv_values(own, interpolate=False) if own.exists() else {}
    known = {*all_settings(), *PORTS, BLAS_VARIABLE} - {*decided, *present}
    added = [
        line
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines()
        if line.removeprefix("export ").split("=", 1)[0].strip() in known
    ]
    if added:
        with own.open("a", encoding="utf-8") as file:
            file.write("".join(f"{line}\n" for line in ("", *added)))
