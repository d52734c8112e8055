"""The demo's summary: what happened, checked against what had to happen.

The demo itself is in `demo.py`; the queries are in `report.py`, the scores in `scores.py`.
"""

from dataclasses import dataclass, field
from datetime import date, timedelta

from rich.console import Console
from rich.table import Table

from local_stack.data_plan import DataPlan
from local_stack.errors import StackError
from local_stack.report import Report, StreamTotals, materialized_partitions
from local_stack.stack import TOPIC, Stack
from local_stack.steps import run_command

FORECAST_HORIZON_DAYS = 42
#: The scored window: its origin lies this many days before the last day.
SCORED_DAYS = 14


@dataclass
class Outcome:
    """What happened in the demo.

    Attributes:
        produced: Events sent to Kafka.
        latencies: Day -> seconds from the start of sending until its forecasts are available.
        faults: Descriptions of what had to happen and did not; empty when all is well.
    """

    produced: int = 0
    latencies: dict[date, float] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)


def summarize(
    stack: Stack, plan: DataPlan, report: Report, outcome: Outcome, console: Console
) -> None:
    """Check the outcome, add its faults, and print the summary."""
    totals = report.stream_totals(TOPIC)
    partitions = materialized_partitions(stack.dagster.graphql_url())
    covered = report.forecast_days(plan.last_day)
    outcome.faults += _faults(plan, outcome.produced, totals, covered, partitions)
    try:
        audit = run_command(stack, "stream", ["streaming_job", "audit"], "audit", console)
    except StackError as error:
        audit = ""
        outcome.faults.append(str(error))

    table = Table(title="What happened", show_header=False, title_justify="left")
    table.add_row(
        "events",
        f"{outcome.produced:,} produced, {totals.stored:,} stored, "
        f"{totals.quarantined:,} quarantined",
    )
    if audit:
        table.add_row("audit", audit.strip().splitlines()[-1])
    table.add_row("event to forecast", _latencies(outcome))
    table.add_row(
        "partitions materialized",
        ", ".join(f"{name} {count:,}" for name, count in sorted(partitions.items())),
    )
    stores, days = covered
    table.add_row("current forecasts", f"{stores:,} stores, {days} days ahead from {plan.last_day}")
    issued = report.issued_against_actual()
    if issued["days"]:
        table.add_row(
            "issued against later days",
            f"RMSPE {issued['rmspe']:.4f} over {issued['days']:,} store days, "
            f"{issued['inside']:.0%} inside the 80 % interval",
        )
    table.add_row(*_scores(plan))
    console.print(table)
    console.print(_forecast_table(report))
    console.print(f"the UI: {stack.dagster.sign_in_link}")
    console.print(f"MLflow: {stack.mlflow.sign_in_link}")
    console.print(f"the planners' pages: {stack.service.sign_in_link}")
    console.print(f"the API: {stack.service.url}/docs (token: FORECAST_SERVICE_TOKEN in .env)")
    for fault in outcome.faults:
        console.print(f"did not happen: {fault}")


def _faults(
    plan: DataPlan,
    produced: int,
    totals: StreamTotals,
    covered: tuple[int, int],
    partitions: dict[str, int],
) -> list[str]:
    """Return what had to happen and did not.

    Args:
        plan: The data.
        produced: Events sent to Kafka.
        totals: What the stream's ledger says of them.
        covered: Stores and days that the forecasts from the last day cover.
        partitions: Asset -> materialized partitions.
    """
    faults = []
    if totals.stored != produced:
        faults.append(f"{produced:,} events were produced, {totals.stored:,} stored")
    if totals.quarantined:
        faults.append(f"{totals.quarantined:,} events were quarantined")
    newest = plan.rows_of(plan.last_day)["Store"].nunique()
    if covered != (newest, FORECAST_HORIZON_DAYS):
        stores, days = covered
        faults.append(
            f"forecasts from {plan.last_day} cover {stores:,} stores and {days} days, "
            f"not {newest:,} and {FORECAST_HORIZON_DAYS}"
        )
    if not partitions or not all(partitions.values()):
        empty = [name for name, count in partitions.items() if not count]
        faults.append(f"no partition was materialized of: {', '.join(empty) or 'any asset'}")
    return faults


def _latencies(outcome: Outcome) -> str:
    ordered = sorted(outcome.latencies.values())
    return f"median {ordered[len(ordered) // 2]:.1f} s, longest {ordered[-1]:.1f} s"


def _forecast_table(report: Report) -> Table:
    table = Table("store", "day", "forecast", "80 % interval", title="Next open days")
    table.title_justify = "left"
    for row in report.next_days(stores=3, days=3):
        table.add_row(
            str(row["store"]),
            f"{row['date']:%a %Y-%m-%d}",
            f"{row['point']:,.0f}",
            f"{row['low']:,.0f} … {row['high']:,.0f}",
        )
    return table


def _scores(plan: DataPlan) -> tuple[str, str]:
    """Return the forecaster's error on the last fortnight beside a seasonal naive's."""
    from local_stack.scores import score

    scores = score(plan.folder, plan.last_day - timedelta(days=SCORED_DAYS), SCORED_DAYS)
    return (
        f"RMSPE, {scores.horizon} days from {scores.origin}",
        f"{scores.ours:.4f}; 14-day seasonal naive {scores.naive:.4f} ({scores.days:,} store days)",
    )
