"""What the data are, in words: the lines of `make status` below its services."""

from __future__ import annotations

from forecast_assets.planning.alert_messages import Rule
from forecast_assets.planning.health import Problem
from forecast_assets.planning.health_facts import HealthFacts


def describe_data(
    facts: HealthFacts,
    problems: list[Problem],
    *,
    stores: int,
    open_changes: int,
    stream_lives: bool = True,
) -> list[str]:
    """Describe the newest data and what is wrong with them.

    Args:
        facts: What the rules look at.
        problems: The rules that are violated.
        stores: Number of stores in the store table.
        open_changes: Changes that no refresh has processed.
        stream_lives: Whether the stream's process runs, as far as the caller knows. The rules know
            its signs of life alone, which say "running" or "stuck" of a process that is dead.

    Returns:
        One sentence a line: first the state, then one line for each problem.
    """
    dead = [] if stream_lives else [_dead_stream(facts)]
    if dead:
        problems = [problem for problem in problems if problem.rule != Rule.STREAM]
    if not facts.newest_sales:
        return ["no sales have been loaded yet", *dead]
    active = set(facts.newest_sales) - facts.retired
    newest_day = max(facts.newest_sales.values())
    origins = {store: day for store, day in facts.origins.items() if store in active}
    lines = [f"sales: {stores:,} stores, newest day {newest_day}"]
    if facts.retired:
        lines[0] += f", {len(facts.retired)} stores retired"
    if origins:
        newest = max(origins.values())
        current = sum(1 for day in origins.values() if day == newest)
        lines.append(
            f"forecasts: newest origin {newest}, {current:,} of {len(active):,} stores forecast "
            f"from it; {_stores(facts, failed=False):,} stores stale, "
            f"{_stores(facts, failed=True):,} failed"
        )
    else:
        lines.append("forecasts: none yet; the first follow the first refresh and training")
    lines.append(
        f"changes: {open_changes:,} open"
        + (f"; last refresh {facts.refreshed_at:%Y-%m-%d %H:%M} UTC" if facts.refreshed_at else "")
    )
    if (
        facts.stream is not None
        and stream_lives
        and all(problem.rule != Rule.STREAM for problem in problems)
    ):
        lines.append(f"stream: {facts.stream.state}, {facts.stream.lag_events:,} events wait")
    lines += [*dead, *(f"problem: {problem.summary}" for problem in problems)]
    return lines if problems or dead else [*lines, "nothing is wrong with the data"]


def _dead_stream(facts: HealthFacts) -> str:
    seen = ""
    if facts.stream is not None:
        seen = (
            f"; at its last sign of life, {facts.stream.beat_at:%Y-%m-%d %H:%M} UTC, "
            f"{facts.stream.lag_events:,} events waited"
        )
    return f"problem: the stream is dead: no event is stored{seen}"


def _stores(facts: HealthFacts, *, failed: bool) -> int:
    """Count the stores that are late or, if so asked, whose refresh fails."""
    return sum(
        (row.error is not None) == failed and row.store not in facts.retired for row in facts.late
    )
