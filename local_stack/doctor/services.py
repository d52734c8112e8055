"""The services of a stack: which ones run, and which of them answer."""

from collections.abc import Callable, Iterator

import psutil

from local_stack.code_server import NAME as CODE_SERVER
from local_stack.dagster_processes import WEBSERVER
from local_stack.doctor.findings import Finding, ok, problem, warning
from local_stack.exporter import NAME as EXPORTER
from local_stack.forecast_api import NAME as SERVICE
from local_stack.kafka import NAME as KAFKA
from local_stack.mlflow_server import NAME as MLFLOW
from local_stack.postgres import NAME as POSTGRES
from local_stack.services import SERVICES, with_needs
from local_stack.stack import Stack
from local_stack.steps import short


def examine_services(stack: Stack) -> Iterator[Finding]:
    """Look at each service's process, and ask those that can be asked."""
    questions: dict[str, Callable[[], bool]] = {
        POSTGRES: stack.postgres.is_ready,
        KAFKA: stack.kafka.is_ready,
        MLFLOW: stack.mlflow.answers,
        CODE_SERVER: stack.code_server.answers,
        WEBSERVER: stack.dagster.answers,
        SERVICE: stack.service.answers,
        EXPORTER: stack.exporter.answers,
    }
    known = {record.name: record for record in stack.processes.records()}
    dead = {name for name in SERVICES if stack.processes.find(name) is None}
    for name in sorted(SERVICES):
        log = short(stack.processes.log(name))
        if name in dead:
            if name in known:
                last = stack.processes.last_message(known[name])
                says = (
                    f"it has died; last in its log: {last}"
                    if last
                    else ("it has died and wrote nothing to its log")
                )
            else:
                says = "it is not running"
            yield problem(name, says, f"`make up` starts it; {log} says why it ended")
        elif name in questions and not questions[name]():
            away = sorted((with_needs({name}) - {name}) & dead)
            yield problem(
                name,
                "its process runs and does not answer",
                f"`make up` first, since it needs {', '.join(away)}"
                if away
                else f"see {log}; `make down`, `make up`",
            )
        elif known[name].writer and not psutil.pid_exists(known[name].writer):
            yield warning(name, "what writes its log has died", "`make down`, `make up`")
        else:
            yield ok(name, "runs and answers" if name in questions else "runs")


def examine_readiness(stack: Stack) -> Iterator[Finding]:
    """Ask the service for what it depends on."""
    try:
        checks = stack.service.readiness()
    except (OSError, ValueError, KeyError) as error:
        yield problem(
            SERVICE,
            f"/health/ready cannot be read ({error})",
            f"see {short(stack.processes.log(SERVICE))}",
        )
        return
    wrong = {name: says for name, says in checks.items() if says not in ("ok", "not configured")}
    for name, says in wrong.items():
        yield warning(SERVICE, f"its {name}: {says}", "see the lines about that part")
    if not wrong:
        yield ok(SERVICE, "is ready, with everything that it depends on")
