"""What an examination finds."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum

#: Where each alert's entry says what to do.
RUNBOOK = "docs/operations.md"


class Severity(IntEnum):
    """How bad a finding is; also the exit code of an examination that finds nothing worse."""

    OK = 0
    WARNING = 1
    PROBLEM = 2


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        part: What it is about, in a word or two.
        severity: How bad it is.
        says: What was found.
        remedy: What to do next; empty if nothing is wrong.
    """

    part: str
    severity: Severity
    says: str
    remedy: str = ""

    def __post_init__(self) -> None:
        """Keep to one line: errors of drivers and of GraphQL bring statements and traces along."""
        lines = [line.strip() for line in self.says.splitlines()]
        object.__setattr__(self, "says", next((line for line in lines if line), "no message"))


def ok(part: str, says: str) -> Finding:
    """Return a finding of something that is as it should be."""
    return Finding(part, Severity.OK, says)


def warning(part: str, says: str, remedy: str) -> Finding:
    """Return a finding that can wait, or that explains another."""
    return Finding(part, Severity.WARNING, says, remedy)


def problem(part: str, says: str, remedy: str) -> Finding:
    """Return a finding because of which something does not work."""
    return Finding(part, Severity.PROBLEM, says, remedy)


def worst(findings: Iterable[Finding]) -> Severity:
    """Return the worst severity among findings."""
    return max((finding.severity for finding in findings), default=Severity.OK)


def entry(alert: str) -> str:
    """Return where an alert's entry says what to do."""
    return f"{RUNBOOK}#{alert.lower()}"
