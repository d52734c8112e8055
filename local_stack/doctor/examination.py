"""Asking every part of a stack, and showing what was found."""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from datetime import date

import psycopg
from rich.console import Console
from rich.text import Text

from local_stack.dagster_processes import WEBSERVER
from local_stack.doctor.databases import examine_logins, examine_schema, examine_server
from local_stack.doctor.findings import Finding, Severity, ok, problem, worst
from local_stack.doctor.graph import examine_dagster, examine_definitions
from local_stack.doctor.machine import examine_machine
from local_stack.doctor.sales import examine_ledger, examine_sales
from local_stack.doctor.services import examine_readiness, examine_services
from local_stack.forecast_api import NAME as SERVICE
from local_stack.kafka import NAME as KAFKA
from local_stack.postgres import NAME as POSTGRES
from local_stack.stack import Stack
from local_stack.stream import NAME as STREAM

_STYLES = {Severity.OK: "dim", Severity.WARNING: "yellow", Severity.PROBLEM: "red"}
_WORDS = {Severity.OK: "ok", Severity.WARNING: "warning", Severity.PROBLEM: "PROBLEM"}
#: What an examination cannot foresee: a part that dies while it is asked.
_LOST = (psycopg.Error, OSError)


def examine(stack: Stack, calendar_end: date | None) -> list[Finding]:
    """Look at everything; what depends on a service that is away is left out.

    Args:
        stack: The stack.
        calendar_end: The last day of its calendar; None if it is open.
    """
    findings = list(examine_machine(stack))
    if not stack.processes.records():
        return [*findings, ok("services", "nothing is running; `make up` starts the stack")]
    findings += examine_services(stack)
    well = {one.part for one in findings if one.severity is Severity.OK}
    parts: list[tuple[set[str], str, Callable[[], Iterator[Finding]]]] = [
        ({POSTGRES}, "postgres", lambda: _server(stack)),
        ({POSTGRES}, "sales", lambda: _sales(stack, calendar_end, STREAM in well)),
        ({POSTGRES, KAFKA}, "ledger", lambda: examine_ledger(stack)),
        ({POSTGRES}, "dagster", lambda: examine_dagster(_dagster_address(stack), _told(findings))),
        # It reads its database for each answer.
        ({POSTGRES, WEBSERVER}, "code", lambda: examine_definitions(stack.dagster)),
        ({SERVICE}, SERVICE, lambda: examine_readiness(stack)),
    ]
    for needs, name, look in parts:
        if needs <= well:
            findings += _guarded(name, look)
    return findings


def _server(stack: Stack) -> Iterator[Finding]:
    with stack.postgres.admin_connection() as admin:
        yield from examine_server(admin)
    yield from examine_logins(stack.database_urls("sales"))
    with psycopg.connect(stack.database_urls("sales")["OWNER_DATABASE_URL"]) as owner:
        yield from examine_schema(owner)


def _sales(stack: Stack, calendar_end: date | None, stream_lives: bool) -> Iterator[Finding]:
    reader = stack.database_urls("sales")["READER_DATABASE_URL"]
    return examine_sales(reader, calendar_end, stream_lives=stream_lives)


def _told(findings: Sequence[Finding]) -> set[str]:
    """Return the parts about which something bad was found, health rules among them."""
    return {one.part for one in findings if one.severity is not Severity.OK}


def _dagster_address(stack: Stack) -> str:
    return stack.postgres.url("dagster_reader", "dagster")


def _guarded(part: str, look: Callable[[], Iterator[Finding]]) -> list[Finding]:
    """Return what a part finds; a service that goes away meanwhile is a finding, too."""
    found: list[Finding] = []
    try:
        found.extend(look())
    except _LOST as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        found.append(problem(part, f"could not be examined: {reason}", "run `make doctor` again"))
    return found


def show(findings: Sequence[Finding], console: Console) -> None:
    """Print one line for each finding, and what to do next behind it."""
    width = max(len(finding.part) for finding in findings)
    for finding in findings:
        line = Text(f"{_WORDS[finding.severity]:8}{finding.part:{width}}  {finding.says}")
        line.stylize(_STYLES[finding.severity])
        if finding.remedy:
            line.append(f" → {finding.remedy}")
        console.print(line)
    bad = [one for one in findings if one.severity is not Severity.OK]
    problems = sum(one.severity is Severity.PROBLEM for one in bad)
    console.print(
        f"{problems} problems, {len(bad) - problems} warnings" if bad else "nothing is wrong"
    )


def as_json(findings: Sequence[Finding]) -> str:
    """Return the findings for programs."""
    return json.dumps(
        {
            "worst": worst(findings).name.lower(),
            "findings": [
                asdict(finding) | {"severity": finding.severity.name.lower()}
                for finding in findings
            ],
        },
        indent=1,
    )
