"""The demo: everything from nothing, live days one after another, and a summary that is checked."""

import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path

from rich.console import Console
from rich.table import Table

from local_stack import environment, paths
from local_stack.code_server import NAME as CODE_SERVER
from local_stack.dagster_processes import DAEMON, WEBSERVER
from local_stack.data_plan import DataPlan, plan_of_files, plan_of_sample
from local_stack.errors import StackError
from local_stack.kafka import NAME as KAFKA
from local_stack.postgres import NAME as POSTGRES
from local_stack.report import Report, failed_runs, materialized_partitions
from local_stack.stack import SERVICES, TOPIC, Stack
from local_stack.stream import NAME as STREAM

FIRST_FORECASTS_SECONDS = 600.0
DAY_SECONDS = 300.0
FORECAST_HORIZON_DAYS = 42
# The issue's own yardstick: an origin two weeks before the last day, 14 days ahead.
SCORED_DAYS = 14
POLL_SECONDS = 0.1
RUNS_EVERY_SECONDS = 5.0


@dataclass
class Outcome:
    """What happened in the demo.

    Attributes:
        produced: Events sent to Kafka.
        latencies: Day -> seconds from the first event sent to forecasts in force.
        faults: What did not happen that had to; empty when all is well.
    """

    produced: int = 0
    latencies: dict[date, float] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)


def run_demo(data: Path | None, once: bool, console: Console) -> bool:
    """Runs the demo from a fresh database to the summary, and stops everything.

    Args:
        data: Folder of Kaggle's files; None makes sample data.
        once: Whether to end after the summary rather than stay up until Ctrl-C.
        console: Where to tell what happens.

    Returns:
        Whether everything that had to happen did.

    Raises:
        StackError: Something the user can mend is in the way.
    """
    environment.refuse_foreign_dotenv(paths.DOTENV)
    if Stack(paths.UP_STACK).processes.alive():
        raise StackError("The stack of `make up` runs: end it with `make down` first.")
    with only_one(paths.STACKS / "demo.lock"):
        clear_away(paths.DEMO_STACK, console)
        plan = _plan(data, console)
        stack = None
        try:
            stack = Stack.start(
                paths.DEMO_STACK,
                {POSTGRES},
                calendar=plan.calendar,
                remove_when_dead=[paths.DOTENV],
                say=_teller(console),
            )
            outcome = _play(stack, plan, console)
            if outcome.faults:
                return False
            if not once:
                _stay_up(stack, console)
            return True
        finally:
            environment.remove_dotenv(paths.DOTENV)
            if stack is not None:
                with undisturbed(), console.status("stopping everything"):
                    stack.stop()
                console.print("everything that was started has ended")


def load(stack: Stack, plan: DataPlan, console: Console) -> None:
    """Loads stores, the history's sales and the planned days.

    Raises:
        StackError: The loader refused the files.
    """
    _command(
        stack,
        "loader",
        [
            "forecast_assets",
            "load",
            f"--data={plan.folder.resolve()}",
            f"--until={plan.history_until}",
        ],
        "loading history",
        console,
    )


def clear_away(folder: Path, console: Console) -> None:
    """Ends what an earlier, killed stack left running, and removes its data."""
    old = Stack(folder)
    left = [record.name for record in old.processes.alive()]
    old.processes.stop_all()
    if left:
        console.print(f"ended what an earlier demo left running: {', '.join(left)}")
    old.remove_data()


@contextmanager
def undisturbed() -> Iterator[None]:
    """Keeps a second Ctrl-C from cutting the stopping short."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, signal.SIG_IGN) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def only_one(lock: Path) -> Iterator[None]:
    """Holds a lock file for as long as the demo runs; the kernel frees it with the process.

    Raises:
        StackError: Another process holds it.
    """
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise StackError(
                "Another `make demo` or `make up` of this folder is at work: wait until it is "
                "done, or end it with Ctrl-C."
            ) from error
        yield


def _plan(data: Path | None, console: Console) -> DataPlan:
    if data is not None:
        with console.status(f"reading {data}"):
            plan = plan_of_files(data)
        origin = str(data)
    else:
        with console.status("making sample data"):
            plan = plan_of_sample(paths.DEMO_STACK / "data")
        origin = "made-up sample data"
    days = plan.live_days
    console.print(
        f"{origin}: {plan.stores:,} stores, history {plan.first_day} to {plan.history_until}, "
        f"live {days[0]} to {days[-1]}"
    )
    console.print(f"starting from a fresh database under {_short(paths.DEMO_STACK)}")
    return plan


def _play(stack: Stack, plan: DataPlan, console: Console) -> Outcome:
    with ThreadPoolExecutor(max_workers=1) as pool:
        loaded = pool.submit(load, stack, plan, console)
        with console.status("loading history, starting Kafka, the stream, MLflow and Dagster"):
            stack.start_services(SERVICES - {DAEMON}, _teller(console))
            loaded.result()
            # The sensors look at the whole history at once, not at half of it.
            stack.start_services(SERVICES, _teller(console))
    environment.write_dotenv(paths.DOTENV, stack.environment, stack.folder)
    console.print(f"the UI is at [bold]{stack.dagster.url}[/bold]")
    report = Report(stack.environment["READER_DATABASE_URL"])
    try:
        outcome = Outcome()
        _first_forecasts(stack, plan, report, console)
        for day in plan.live_days:
            _live_day(stack, plan, day, report, outcome, console)
        with console.status("auditing, scoring"):
            _summary(stack, plan, report, outcome, console)
        return outcome
    finally:
        report.close()


def _first_forecasts(stack: Stack, plan: DataPlan, report: Report, console: Console) -> None:
    """Waits until the sensors have refreshed and trained on the history."""
    started = time.monotonic()
    with console.status("waiting for the first refresh and the first training") as status:

        def done() -> bool:
            progress = report.progress()
            status.update(
                f"first refresh and training: {progress.stores:,} stores have forecasts, "
                + ("trained" if progress.trained else "not trained yet")
            )
            return progress.is_forecast

        _wait(stack, done, FIRST_FORECASTS_SECONDS, "the first forecasts")
    console.print(f"first refresh and training in {time.monotonic() - started:.1f} s")


def _live_day(
    stack: Stack,
    plan: DataPlan,
    day: date,
    report: Report,
    outcome: Outcome,
    console: Console,
) -> None:
    """Sends a day's events and waits until forecasts that have seen them are in force."""
    from streaming_job.errors import StreamError
    from streaming_job.producer import produce

    rows = plan.rows_of(day)
    stores = rows["Store"].nunique()
    began = time.monotonic()
    with console.status(f"{day}: sending {len(rows):,} events"):
        try:
            outcome.produced += produce(
                rows, bootstrap_servers=stack.kafka.bootstrap_servers, topic=TOPIC
            )
        except StreamError as error:
            raise StackError(str(error)) from error
    landed = None
    with console.status(f"{day}: waiting for the stream"):

        def all_landed() -> bool:
            totals = report.stream_totals(TOPIC)
            return totals.stored + totals.quarantined >= outcome.produced

        _wait(stack, all_landed, DAY_SECONDS, f"the events of {day} in PostgreSQL")
        landed = time.monotonic() - began
    with console.status(f"{day}: waiting for the sensor's refresh"):
        _wait(
            stack,
            lambda: report.stores_with_origin(day) >= stores,
            DAY_SECONDS,
            f"forecasts that have seen {day}",
        )
    outcome.latencies[day] = time.monotonic() - began
    console.print(
        f"{day}: {len(rows):,} events, in PostgreSQL after {landed:.1f} s, "
        f"new forecasts in force after {outcome.latencies[day]:.1f} s"
    )


def _summary(
    stack: Stack, plan: DataPlan, report: Report, outcome: Outcome, console: Console
) -> None:
    totals = report.stream_totals(TOPIC)
    partitions = materialized_partitions(stack.dagster.graphql_url())
    stores, days = report.forecast_days(plan.last_day)
    issued = report.issued_against_actual()
    newest = plan.rows_of(plan.last_day)["Store"].nunique()
    faults = outcome.faults
    if totals.stored != outcome.produced:
        faults.append(f"{outcome.produced:,} events were produced, {totals.stored:,} stored")
    if totals.quarantined:
        faults.append(f"{totals.quarantined:,} events were quarantined")
    if (stores, days) != (newest, FORECAST_HORIZON_DAYS):
        faults.append(
            f"forecasts from {plan.last_day} cover {stores:,} stores and {days} days, "
            f"not {newest:,} and {FORECAST_HORIZON_DAYS}"
        )
    if not partitions or not all(partitions.values()):
        empty = [name for name, count in partitions.items() if not count]
        faults.append(f"no partition was materialized of: {', '.join(empty) or 'any asset'}")
    try:
        audit = _command(stack, "stream", ["streaming_job", "audit"], "audit", console)
    except StackError as error:
        audit = ""
        faults.append(str(error))
    scored = _scores(plan)

    table = Table(title="What happened", show_header=False, title_justify="left")
    table.add_row(
        "events",
        f"{outcome.produced:,} produced, {totals.stored:,} stored, "
        f"{totals.quarantined:,} quarantined",
    )
    if audit:
        table.add_row("audit", audit.strip().splitlines()[-1])
    worst = max(outcome.latencies.values())
    middle = sorted(outcome.latencies.values())[len(outcome.latencies) // 2]
    table.add_row("event to forecast", f"median {middle:.1f} s, longest {worst:.1f} s")
    table.add_row(
        "partitions materialized",
        ", ".join(f"{name} {count:,}" for name, count in sorted(partitions.items())),
    )
    table.add_row(
        "forecasts in force", f"{stores:,} stores, {days} days ahead from {plan.last_day}"
    )
    if issued["days"]:
        table.add_row(
            "issued against later days",
            f"RMSPE {issued['rmspe']:.4f} over {issued['days']:,} store days, "
            f"{issued['inside']:.0%} inside the 80 % interval",
        )
    table.add_row(*scored)
    console.print(table)
    console.print(_forecast_table(report))
    console.print(f"the UI is at [bold]{stack.dagster.url}[/bold], MLflow at {stack.mlflow.url}")
    for fault in faults:
        console.print(f"[red]did not happen:[/red] {fault}")


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
    """Returns the forecaster's error on the last fortnight beside a seasonal naive's."""
    from local_stack.scores import score

    found = score(plan.folder, plan.last_day - timedelta(days=SCORED_DAYS), SCORED_DAYS)
    return (
        f"RMSPE, {found.horizon} days from {found.origin}",
        f"{found.ours:.4f}; 14-day seasonal naive {found.naive:.4f} ({found.days:,} store days)",
    )


def _stay_up(stack: Stack, console: Console) -> None:
    console.print("everything stays up until Ctrl-C; see also [bold]make status[/bold]")
    try:
        while True:
            time.sleep(RUNS_EVERY_SECONDS)
            for name in sorted(SERVICES):
                if not stack.is_running(name):
                    raise StackError(
                        f"{name} has ended; its log ends with:\n{stack.processes.log_tail(name)}"
                    )
    except KeyboardInterrupt:
        console.print()


def _wait(stack: Stack, done: Callable[[], bool], seconds: float, what: str) -> None:
    """Waits for a condition, and gives up early when a service has died.

    Raises:
        StackError: A service died, or the time is over; failed runs are named.
    """
    deadline = time.monotonic() + seconds
    look = time.monotonic() + RUNS_EVERY_SECONDS
    while not done():
        now = time.monotonic()
        if now > look:
            look = now + RUNS_EVERY_SECONDS
            for name in (POSTGRES, KAFKA, STREAM, CODE_SERVER, WEBSERVER, DAEMON):
                if not stack.is_running(name):
                    raise StackError(
                        f"{name} ended while waiting for {what}; its log ends with:\n"
                        f"{stack.processes.log_tail(name)}"
                    )
        if now > deadline:
            failed = failed_runs(stack.dagster.graphql_url())
            hint = f" Failed runs: {', '.join(failed)}." if failed else ""
            raise StackError(
                f"Waited {seconds:.0f} s for {what} in vain.{hint} "
                f"The logs are in {_short(stack.processes.log_folder)}."
            )
        time.sleep(POLL_SECONDS)


def _command(
    stack: Stack, component: str, arguments: list[str], what: str, console: Console
) -> str:
    """Runs one of the project's command lines with its component's environment.

    Raises:
        StackError: It failed; its last line is in the message.
    """
    started = time.monotonic()
    answer = subprocess.run(
        [sys.executable, "-m", *arguments],
        cwd=stack.folder,
        env=stack.component_environment(component) | {"COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
    )
    if answer.returncode:
        log = stack.processes.log(arguments[1])
        log.write_text(answer.stdout + answer.stderr)
        last = ((answer.stderr or answer.stdout).strip().splitlines() or ["no output"])[-1]
        raise StackError(f"{what} failed: {last} (all of it is in {_short(log)})")
    console.print(f"{what}: {time.monotonic() - started:.1f} s")
    return answer.stdout


def _teller(console: Console) -> Callable[[str], None]:
    started = time.monotonic()

    def tell(line: str) -> None:
        console.print(f"{line} ({time.monotonic() - started:.1f} s)")

    return tell


def _short(path: Path) -> str:
    return os.path.relpath(path) if path.is_relative_to(Path.cwd()) else str(path)
