"""The settings that a user makes for the embedded stack: in the shell, or to keep in `.env.local`.

The stack writes `.env` with the addresses that it chose and removes it when it stops.
`.env.local` is the user's: it is only read. The command lines read both.
"""

from __future__ import annotations

import difflib
import io
import os
from collections.abc import Mapping, MutableMapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from dotenv import dotenv_values
from pydantic import ValidationError
from pydantic_settings import BaseSettings

from forecasting.threads import BLAS_VARIABLE
from local_stack.errors import StackError

if TYPE_CHECKING:
    from forecast_assets.settings import Settings

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


def graph_settings() -> Settings:
    """Return the settings of the asset graph.

    Raises:
        StackError: One of them is not allowed.
    """
    from forecast_assets.settings import SettingsError, settings

    try:
        return settings()
    except SettingsError as error:
        raise StackError(str(error)) from None


def take_own_settings(
    path: Path, decided: tuple[str, ...], environment: MutableMapping[str, str] = os.environ
) -> list[str]:
    """Take the settings of `.env.local` into the environment; what the shell exports wins.

    Args:
        path: The file; it may be missing.
        decided: The variables that the stack itself decides.
        environment: The environment, by default this process's.

    Returns:
        What is wrong, one line each: a file that cannot be read, a line that is no setting or not
        the user's, a value that is not allowed. What is right, and nothing else, is taken all the
        same.
    """
    try:
        values = dotenv_values(path, interpolate=False) if path.exists() else {}
    except (OSError, UnicodeDecodeError) as error:
        return [f"{path} cannot be read ({error}): make it a text file in UTF-8."]
    known = {*all_settings(), *PORTS, BLAS_VARIABLE}
    wrong, taken = [], set()
    for name, value in values.items():
        if name in decided and name != JAVA_HOME:
            wrong.append(
                f"{path} sets {name}, which the stack decides itself: remove that line, or run "
                "the services by hand."
            )
        elif name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]}?" if near else "remove that line."
            wrong.append(f"{path} sets {name}, which is no setting of .env.example: {hint}")
        elif value and name not in environment:
            environment[name] = value
            taken.add(name)
    refused = _refused_values({n: v for n, v in environment.items() if n not in decided and v})
    for name, reason in refused.items():
        where = str(path) if name in taken else "the shell"
        wrong.append(f"{where} sets {name}{reason}. Mend that setting, or remove it.")
        # Whoever goes on all the same goes on with the default.
        del environment[name]
    return wrong


def _refused_values(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the settings whose values are not allowed -> the value and what is allowed."""
    from forecast_assets.settings import Settings as AssetSettings
    from forecast_service.settings import Settings as ServiceSettings
    from streaming_job.settings import StreamSettings

    refused: dict[str, str] = {}
    settings: tuple[type[BaseSettings], ...] = (AssetSettings, StreamSettings, ServiceSettings)
    for kind in settings:
        fields = {field.alias or name: field for name, field in kind.model_fields.items()}
        given = {n: environment[n.upper()] for n in fields if n.upper() in environment}
        try:
            # Without the files: their values are in the environment, and what is missing from it
            # is no fault of a value.
            kind(_env_file=None, **given)  # type: ignore[arg-type]
        except ValidationError as error:
            for one in error.errors():
                name = str(one["loc"][0]) if one["loc"] else ""
                if name in given:
                    secret = "Secret" in repr(fields[name].annotation)
                    value = "" if secret else f"={given[name]}"
                    message = one["msg"].removeprefix("Value error, ")
                    refused[name.upper()] = f"{value}: {message[:1].lower()}{message[1:]}"
    for name in PORTS:
        value = environment.get(name, "").strip()
        if value and not (value.isdecimal() and 0 < int(value) < 65536):
            refused[name] = f"={value}: input should be a port number, from 1 to 65535"
    return refused


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
    # Whatever is wrong with the user's file: a stack that ends must not fail because of it.
    text = own.read_text(encoding="utf-8", errors="replace") if own.exists() else ""
    present = dotenv_values(stream=io.StringIO(text), interpolate=False)
    known = {*all_settings(), *PORTS, BLAS_VARIABLE} - {*decided, *present}
    added = [
        line
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines()
        if line.removeprefix("export ").split("=", 1)[0].strip() in known
    ]
    if added:
        with own.open("a", encoding="utf-8") as file:
            file.write("".join(f"{line}\n" for line in ("", *added)))
