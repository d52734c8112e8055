"""A demo that starts the whole stack on a fresh database and then plays one live day at a time.

Its summary is in `demo_summary.py`; the stack of `make up` is in `background.py`.
"""

import os
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import date
from pathlib import Path

from rich.console import Console
from rich.text import Text

from local_stack import environment, paths
from local_stack.dagster_processes import DAEMON
from local_stack.data_plan import DataPlan, plan_of_files, plan_of_sample
from local_stack.demo_summary import Outcome, summarize
from local_stack.errors import StackError
from local_stack.postgres import NAME as POSTGRES
from local_stack.report import Report
from local_stack.stack import SERVICES, TOPIC, Stack
from local_stack.steps import (
    SERVICES_EVERY_SECONDS,
    load,
    only_one,
    refuse_dead,
    short,
    wait_for,
)

#: Seconds that the first refresh and training may take.
FIRST_FORECASTS_SECONDS = 600.0
#: Seconds that each wait of a live day may take: first for PostgreSQL, then for the forecasts.
DAY_SECONDS = 300.0


def run_demo(data: Path | None, once: bool, console: Console, *, skip_bad: bool = False) -> bool:
    """Run the demo from a fresh database to the summary, and stop everything.

    Args:
        data: Folder of Kaggle's files; None makes sample data.
        once: Whether to end after the summary rather than stay up until Ctrl-C.
        console: Where to print progress.
        skip_bad: Whether to set bad lines of the files aside instead of refusing the files.

    Returns:
        True if the summary found no fault.

    Raises:
        StackError: The demo cannot run or continue; the message says what to do.
    """
    environment.refuse_foreign_dotenv(paths.DOTENV)
    if once:
        # The comparison of recipes takes minutes, and nothing here waits for its result.
        os.environ.setdefault(*environment.NO_CHALLENGER)
    if Stack(paths.UP_STACK).processes.alive():
        raise StackError("The stack of `make up` is running: end it with `make down` first.")
    with only_one(paths.STACKS / "demo.lock"):
        clear_away(paths.DEMO_STACK, console)
        plan = _plan(data, console, skip_bad=skip_bad)
        stack = None
        try:
            stack = Stack.start(
                paths.DEMO_STACK,
                {POSTGRES},
                calendar=plan.calendar,
                remove_when_dead=[paths.DOTENV],
                say=_timed_printer(console),
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


def clear_away(folder: Path, console: Console) -> None:
    """End what an earlier, killed stack left running, and remove its data."""
    old = Stack(folder)
    left = [record.name for record in old.processes.alive()]
    old.processes.stop_all()
    if left:
        console.print(f"ended what an earlier demo left running: {', '.join(left)}")
    old.remove_data()


@contextmanager
def undisturbed() -> Iterator[None]:
    """Ignore Ctrl-C and termination signals, so that they do not interrupt the shutdown."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, signal.SIG_IGN) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _plan(data: Path | None, console: Console, *, skip_bad: bool) -> DataPlan:
    if data is not None:
        with console.status(Text(f"reading {data}")):
            plan = plan_of_files(data, skip_bad=skip_bad)
        source = str(data)
    else:
        with console.status("making sample data"):
            plan = plan_of_sample(paths.DEMO_STACK / "data")
        source = "made-up sample data"
    days = plan.live_days
    console.print(
        f"{source}: {plan.stores:,} stores, history {plan.first_day} to {plan.history_until}, "
        f"live {days[0]} to {days[-1]}"
    )
    console.print(f"starting from a fresh database under {short(paths.DEMO_STACK)}")
    return plan


def _play(stack: Stack, plan: DataPlan, console: Console) -> Outcome:
    """Load the history, start the other services, play the live days, print the summary."""
    with ThreadPoolExecutor(max_workers=1) as pool:
        loaded = pool.submit(load, stack, plan, console)
        with console.status("loading history, starting Kafka, the stream, MLflow and Dagster"):
            stack.start_services(SERVICES - {DAEMON}, _timed_printer(console))
            loaded.result()
            # The sensors must see the whole history at once, not half of it.
            stack.start_services(SERVICES, _timed_printer(console))
    environment.write_dotenv(paths.DOTENV, stack.environment, stack.folder)
    console.print(f"the planners' pages: {stack.service.sign_in_link}")
    console.print(f"open the UI by {stack.dagster.sign_in_link}")
    report = Report(stack.environment["READER_DATABASE_URL"])
    try:
        outcome = Outcome()
        _first_forecasts(stack, report, console)
        for day in plan.live_days:
            _live_day(stack, plan, day, report, outcome, console)
        with console.status("auditing, scoring"):
            summarize(stack, plan, report, outcome, console)
        return outcome
    finally:
        report.close()


def _first_forecasts(stack: Stack, report: Report, console: Console) -> None:
    """Wait for the refreshes and the training that the sensors request for the history."""
    started = time.monotonic()
    with console.status("waiting for the first refresh and the first training") as status:

        def is_forecast() -> bool:
            progress = report.progress()
            status.update(
                f"first refresh and training: {progress.stores:,} stores have forecasts, "
                + ("trained" if progress.trained else "not trained yet")
            )
            return progress.is_forecast

        wait_for(stack, is_forecast, FIRST_FORECASTS_SECONDS, "the first forecasts")
    console.print(f"first refresh and training in {time.monotonic() - started:.1f} s")


def _live_day(
    stack: Stack,
    plan: DataPlan,
    day: date,
    report: Report,
    outcome: Outcome,
    console: Console,
) -> None:
    """Send a day's events and wait for forecasts that include its sales."""
    from streaming_job.errors import StreamError
    from streaming_job.producer import produce

    rows = plan.rows_of(day)
    stores = rows["Store"].nunique()
    began = time.monotonic()
    with console.status(f"{day}: sending {len(rows):,} events"):
        try:
            outcome.produced += produce(
                rows,
                bootstrap_servers=stack.kafka.bootstrap_servers,
                topic=TOPIC,
                access=stack.kafka.access,
            )
        except StreamError as error:
            raise StackError(str(error)) from error
    with console.status(f"{day}: waiting for the stream"):

        def all_landed() -> bool:
            totals = report.stream_totals(TOPIC)
            return totals.stored + totals.quarantined >= outcome.produced

        wait_for(stack, all_landed, DAY_SECONDS, f"the events of {day} in PostgreSQL")
        landed = time.monotonic() - began
    with console.status(f"{day}: waiting for the sensor's refresh"):
        wait_for(
            stack,
            lambda: report.stores_with_origin(day) >= stores,
            DAY_SECONDS,
            f"forecasts that include the sales of {day}",
        )
    outcome.latencies[day] = time.monotonic() - began
    console.print(
        f"{day}: {len(rows):,} events, in PostgreSQL after {landed:.1f} s, "
        f"new forecasts available after {outcome.latencies[day]:.1f} s"
    )


def _stay_up(stack: Stack, console: Console) -> None:
    console.print("everything stays up until Ctrl-C; see also `make status`")
    try:
        while True:
            time.sleep(SERVICES_EVERY_SECONDS)
            refuse_dead(stack, SERVICES)
    except KeyboardInterrupt:
        console.print()


def _timed_printer(console: Console) -> Callable[[str], None]:
    """Return a function that prints a line and the seconds since this call."""
    started = time.monotonic()

    def print_timed(line: str) -> None:
        console.print(f"{line} ({time.monotonic() - started:.1f} s)")

    return print_timed
