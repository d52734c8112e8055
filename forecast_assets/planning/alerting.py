"""Alerting: which messages to send, so that the start and the end of each spell are told once.

Pure functions over a state that a sensor keeps in its cursor. What is wrong is decided in
`health.py`; sending lives in `defs/alerts.py`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from forecast_assets.planning.alert_messages import RECOVERED, Rule, list_some, summarize
from forecast_assets.planning.health import Problem

#: Rule -> subject -> when its spell began.
Spells = Mapping[Rule, Mapping[str, str]]


@dataclass(frozen=True)
class AlertState:
    """What the sensor remembers between two ticks.

    Attributes:
        spells: The open spells.
        outbox: Messages that nobody has received yet, oldest first.
    """

    spells: Spells = field(default_factory=dict)
    outbox: tuple[str, ...] = ()

    def to_cursor(self) -> str:
        """Return the state as a cursor. It is never empty: Dagster ignores an empty one."""
        return json.dumps({"spells": self.spells, "outbox": self.outbox})

    @classmethod
    def from_cursor(cls, cursor: str | None) -> AlertState:
        """Read a cursor; one of another format begins anew."""
        stored = read_json(cursor)
        spells, outbox = stored.get("spells"), stored.get("outbox")
        if not isinstance(spells, dict) or not isinstance(outbox, list):
            return cls()
        known = {rule.value for rule in Rule}
        return cls(
            {Rule(rule): dict(subjects) for rule, subjects in spells.items() if rule in known},
            tuple(outbox),
        )


def read_json(cursor: str | None) -> dict[str, Any]:
    """Return the object that a cursor holds; an empty one if it holds anything else."""
    try:
        stored = json.loads(cursor or "{}")
    except ValueError:
        return {}
    return stored if isinstance(stored, dict) else {}


def advance(
    state: AlertState, problems: Sequence[Problem], judged: Iterable[Rule], now: datetime
) -> AlertState:
    """Return the next state, with a message for each group of spells that began or ended.

    Args:
        state: The state of the last tick.
        problems: What is wrong now.
        judged: The rules that could be judged. Spells of the others go on.
        now: The time of the tick.
    """
    since = now.isoformat(timespec="seconds")
    current = {problem.rule: problem.subjects for problem in problems}
    spells = {rule: dict(subjects) for rule, subjects in state.spells.items()}
    outbox = list(state.outbox)
    for rule in judged:
        violations, open_spells = current.get(rule, {}), spells.get(rule, {})
        begun = {name: text for name, text in violations.items() if name not in open_spells}
        ended = {name: at for name, at in open_spells.items() if name not in violations}
        if begun:
            outbox.append(summarize(rule, begun))
        if ended:
            outbox.append(_recovery(rule, ended))
        spells[rule] = {name: open_spells.get(name, since) for name in violations}
    return AlertState({rule: open_ for rule, open_ in spells.items() if open_}, tuple(outbox))


def _recovery(rule: Rule, ended: Mapping[str, str]) -> str:
    names = list_some(f"{subject} since {at}" for subject, at in ended.items() if subject)
    if names:
        return f"{RECOVERED[rule]}: {names}"
    return f"{RECOVERED[rule]}; it began at {ended['']}"


#: Time between two evaluations of the checks while the same ones fail. A backlog changes which
#: stores are late at every look, and each evaluation is a run.
REPEAT_AFTER = timedelta(minutes=15)

#: Time after which the checks are evaluated although nothing has changed, so that the UI does not
#: show a result of last year.
AT_LEAST_EVERY = timedelta(days=1)


@dataclass(frozen=True)
class CheckState:
    """What the checks showed when a sensor requested them last.

    Attributes:
        rules: The violated rules.
        subjects: Digest of what violated them, and how.
        at: When they were requested; None before the first time.
    """

    rules: tuple[str, ...] = ()
    subjects: str = ""
    at: datetime | None = None

    @classmethod
    def of(cls, problems: Sequence[Problem], now: datetime) -> CheckState:
        """Return the state that an evaluation would show now."""
        subjects = {problem.rule.value: dict(problem.subjects) for problem in problems}
        digest = hashlib.sha256(json.dumps(subjects, sort_keys=True).encode()).hexdigest()
        return cls(tuple(sorted(subjects)), digest if subjects else "", now)

    @classmethod
    def from_cursor(cls, cursor: str | None) -> CheckState:
        """Read a cursor; one of another format is as good as none."""
        stored = read_json(cursor)
        try:
            at = datetime.fromisoformat(stored["at"]) if stored.get("at") else None
            return cls(tuple(stored["rules"]), stored["subjects"], at)
        except (KeyError, TypeError, ValueError):
            return cls()

    def to_cursor(self) -> str:
        """Return the state as a cursor. It is never empty: Dagster ignores an empty one."""
        at = self.at.isoformat() if self.at else None
        return json.dumps({"rules": self.rules, "subjects": self.subjects, "at": at})

    def needs_run(self, before: CheckState) -> bool:
        """Return whether the checks should be evaluated again.

        Args:
            before: The state at the last request.
        """
        if self.rules != before.rules:
            return True
        if before.at is None or self.at is None:
            return False
        waited = self.at - before.at
        return waited >= AT_LEAST_EVERY or (
            self.subjects != before.subjects and waited >= REPEAT_AFTER
        )

    def unchanged(self, before: CheckState) -> CheckState:
        """Return the state to remember when the checks are not evaluated again.

        Args:
            before: The state at the last request; in a new instance, one that is soon due.
        """
        if before.at is None and self.at is not None:
            return replace(before, at=self.at - AT_LEAST_EVERY + REPEAT_AFTER)
        return before
