"""Sales, forecasts and the stream: the health rules' verdicts, and the ledger beside Kafka."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from typing import TYPE_CHECKING

from local_stack.data_status import read_health
from local_stack.doctor.findings import Finding, entry, ok, problem, warning
from local_stack.errors import StackError
from local_stack.ledger_place import NEW_TOPIC_HINT, compare_with_broker
from local_stack.stack import Stack
from streaming_job.errors import StreamError

if TYPE_CHECKING:
    from forecast_assets.planning.alert_messages import Rule


def _alerts() -> dict[Rule, tuple[str, bool]]:
    """Return each rule's alert, and whether planners get no or wrong numbers because of it."""
    from forecast_assets.planning.alert_messages import Rule

    return {
        Rule.DATABASE: ("DatabaseAway", True),
        Rule.LATE: ("ForecastsLate", True),
        Rule.FAILED: ("StoresFailing", True),
        Rule.OLD: ("ForecastsOld", True),
        Rule.BEHIND: ("ForecastsBehind", True),
        Rule.EVENTS: ("SalesMissing", True),
        Rule.SILENT: ("StoresSilent", False),
        Rule.STREAM: ("StreamUnwell", True),
        Rule.QUARANTINE: ("ManyQuarantined", True),
        Rule.OUTDATED: ("CorrectionsOutdated", False),
        Rule.UNUSUAL: ("SalesUnusual", False),
    }


def examine_sales(
    reader_url: str, calendar_end: date | None, *, stream_lives: bool = True
) -> Iterator[Finding]:
    """Apply the health rules, and say how new the data are.

    Args:
        reader_url: The sales database's address with the reader's role.
        calendar_end: The last day of the calendar.
        stream_lives: Whether the stream's process runs. What the database says of a dead one is
            what was true before, and the line about its process says what is.
    """
    from forecast_assets.monitoring.reading import READ_ERRORS

    try:
        read = read_health(reader_url, calendar_end)
    except StackError as error:
        yield problem("sales", f"cannot be judged: {error}", "see the lines about settings")
        return
    except READ_ERRORS as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        remedy = f"see the line about the schema, and {entry('DatabaseAway')}"
        yield problem("sales", reason, remedy)
        return
    alerts = _alerts()
    from forecast_assets.planning.alert_messages import Rule

    for violated in read.problems:
        if violated.rule is Rule.STREAM and not stream_lives:
            continue
        alert, is_urgent = alerts[violated.rule]
        find = problem if is_urgent else warning
        yield find(violated.rule.value, violated.summary, f"see {entry(alert)}")
    facts = read.facts
    if not facts.newest_sales:
        yield warning("sales", "none have been loaded", "`make up DATA=folder`, or send events")
        return
    yield ok("sales", f"{read.stores:,} stores, newest day {max(facts.newest_sales.values())}")
    if facts.origins:
        yield ok("forecasts", f"newest origin {max(facts.origins.values())}")
    else:
        yield warning("forecasts", "there are none yet", "wait for the first refresh and training")
    if facts.stream is not None and stream_lives:
        yield ok("stream", f"says {facts.stream.state}; {facts.stream.lag_events:,} events waited")


def examine_ledger(stack: Stack) -> Iterator[Finding]:
    """Compare the ledger with Kafka, as a start of the stream would."""
    try:
        found = compare_with_broker(stack)
    except StreamError as error:
        yield problem("ledger", str(error), "a topic that is missing: `make up` makes it")
        return
    if found.refusal is not None:
        yield problem("ledger", found.refusal, NEW_TOPIC_HINT)
        return
    if found.expired:
        yield problem(
            "ledger",
            f"retention has deleted {found.expired:,} events that are not stored",
            f"have them sent again; see {entry('EventsExpired')}",
        )
    yield ok("ledger", f"continues in {found.topic}; {found.waiting:,} offsets after it")
