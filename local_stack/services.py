"""The services of a stack, and which of them must be ready before which.

How a service starts is in its own module; `stack.py` starts them.
"""

from collections.abc import Collection

from local_stack.code_server import NAME as CODE_SERVER
from local_stack.dagster_processes import DAEMON, WEBSERVER
from local_stack.errors import StackError
from local_stack.exporter import NAME as EXPORTER
from local_stack.forecast_api import NAME as SERVICE
from local_stack.kafka import NAME as KAFKA
from local_stack.mlflow_server import NAME as MLFLOW
from local_stack.postgres import NAME as POSTGRES
from local_stack.stream import NAME as STREAM

#: Service -> the services that must be ready before it starts.
NEEDS: dict[str, frozenset[str]] = {
    POSTGRES: frozenset(),
    KAFKA: frozenset(),
    MLFLOW: frozenset({POSTGRES}),
    STREAM: frozenset({POSTGRES, KAFKA}),
    CODE_SERVER: frozenset({POSTGRES}),
    WEBSERVER: frozenset({POSTGRES, CODE_SERVER}),
    # Its runs log to MLflow from the start.
    DAEMON: frozenset({POSTGRES, MLFLOW, CODE_SERVER}),
    # It sends adopted plans to Kafka and starts runs through the webserver.
    SERVICE: frozenset({POSTGRES, KAFKA, MLFLOW, WEBSERVER}),
    # It says so when the others are away.
    EXPORTER: frozenset({POSTGRES}),
}
SERVICES = frozenset(NEEDS)


def with_needs(services: Collection[str]) -> set[str]:
    """Return services together with those they need, directly or indirectly.

    Args:
        services: Some of `SERVICES`.

    Raises:
        StackError: One of them is no service.
    """
    unknown = set(services) - SERVICES
    if unknown:
        raise StackError(
            f"{', '.join(sorted(unknown))} is no service; the services are "
            f"{', '.join(sorted(SERVICES))}."
        )
    wanted = set(services)
    while True:
        needed = {need for name in wanted for need in NEEDS[name]} - wanted
        if not needed:
            return wanted
        wanted |= needed
