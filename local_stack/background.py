"""The stack in the background, for ``make up``, ``make down`` and ``make status``: data is kept."""

import json
from datetime import UTC, date, datetime
from pathlib import Path

from rich.console import Console
from rich.table import Table

from local_stack import environment, paths
from local_stack.code_server import NAME as CODE_SERVER
from local_stack.dagster_processes import WEBSERVER
from local_stack.data_plan import DataPlan, plan_of_files, plan_of_sample
from local_stack.demo import load, only_one
from local_stack.errors import StackError
from local_stack.kafka import NAME as KAFKA
from local_stack.postgres import NAME as POSTGRES
from local_stack.report import runs_in_progress
from local_stack.stack import SERVICES, Stack

Calendar = tuple[date, date | None]


def start_background(data: Path | None, console: Console) -> None:
    """Starts what does not run yet; a new stack is filled with data first.

    Args:
        data: Folder of Kaggle's files to load, all their days as history; None makes sample data
            for a new stack and loads nothing into one that has data.
        console: Where to tell what happens.

    Raises:
        StackError: A demo runs, a file is not right or of another chain, or a service does not
            start.
    """
    environment.refuse_foreign_dotenv(paths.DOTENV)
    folder = paths.UP_STACK
    # Both write .env: only one may run.
    with only_one(paths.STACKS / "demo.lock"):
        known = _read_calendar(folder)
        if data is not None and known is not None and _made_up(folder).exists():
            raise StackError(
                f"{folder} holds made-up sales, which {data} would be mixed with: "
                "`make down DELETE=1` deletes them, then start again."
            )
        plan = _plan(data, folder, known, console)
        calendar = _wider(known, plan.calendar if plan else None)
        if plan is not None:
            _refuse_too_many(plan.stores, calendar)
        stack = Stack.attach(folder, calendar)
        already = {name for name in SERVICES if stack.is_running(name)}
        if already >= SERVICES and plan is None:
            console.print("the stack runs already")
            show_status(console)
            return
        try:
            stack.start_services({POSTGRES, KAFKA}, console.print)
            if plan is not None:
                load(stack, plan, console)
                _write_calendar(folder, calendar)
            with console.status("starting the stream, MLflow and Dagster"):
                stack.start_services(SERVICES, console.print)
        except BaseException:
            for name in reversed([record.name for record in stack.processes.alive()]):
                if name not in already:
                    stack.stop_service(name)
            raise
        environment.write_dotenv(paths.DOTENV, stack.environment, stack.folder)
    show_status(console)
    if plan is not None:
        console.print(_what_comes(plan, stack.dagster.url))


def _what_comes(plan: DataPlan, url: str) -> str:
    """What a user of new data can expect, and where to look."""
    return (
        f"{plan.stores:,} stores, sales from {plan.first_day} to {plan.last_day}. The first "
        "refresh and training have begun: forecasts are there in a few minutes.\n"
        f"Watch them come at {url}/assets/forecasts; `make down` ends the stack, its data stays."
    )


def stop_background(console: Console, *, delete_data: bool = False) -> None:
    """Ends the stack in the background and removes its ``.env``; its data too, if told so."""
    stack = _attached(paths.UP_STACK)
    names = [record.name for record in stack.processes.alive()]
    if names:
        environment.remove_dotenv(paths.DOTENV)
        _say_what_ends(stack, console)
    with console.status("stopping"):
        stack.stop()
    console.print(f"ended: {', '.join(names)}" if names else "nothing was running")
    if delete_data:
        stack.remove_data()
        console.print(f"deleted: {stack.folder}")


def _attached(folder: Path) -> Stack:
    """A handle to a stack whose calendar does not matter: nothing new is started."""
    return Stack.attach(folder, (date.today(), None))


def _say_what_ends(stack: Stack, console: Console) -> None:
    if not stack.is_running(WEBSERVER):
        return
    try:
        running = runs_in_progress(stack.dagster.graphql_url())
    except (OSError, ValueError):
        return  # The webserver does not answer: what it would say is only a courtesy.
    for run in running:
        console.print(f"in the middle of a run, which ends now: {run}")


def show_status(console: Console) -> bool:
    """Shows the services of ``make up`` and of a running demo, with their addresses.

    Returns:
        Whether all live that were started and not ended.
    """
    dead = False
    table = Table("stack", "service", "PID", "address")
    for folder in (paths.UP_STACK, paths.DEMO_STACK):
        stack = _attached(folder)
        addresses = {
            POSTGRES: f"127.0.0.1:{stack.postgres.port}",
            KAFKA: f"127.0.0.1:{stack.kafka.port}",
            "mlflow": stack.mlflow.url,
            CODE_SERVER: stack.code_server.address,
            WEBSERVER: stack.dagster.url,
        }
        records = stack.processes.records()
        living = {record.name for record in records if stack.is_running(record.name)}
        for record in records if living else ():
            gone = record.name not in living
            dead |= gone
            table.add_row(
                folder.name,
                record.name,
                str(record.pid),
                "DEAD" if gone else addresses.get(record.name, ""),
            )
    if table.row_count:
        console.print(table)
    else:
        console.print("nothing runs; start with `make demo` or `make up`")
    if dead:
        console.print("a service is dead: `make up` starts it again")
    return not dead


def _made_up(folder: Path) -> Path:
    """Where a stack has the files that were made up for it."""
    return folder / "data"


def _refuse_too_many(stores: int, calendar: Calendar) -> None:
    from forecast_assets.defs.partitions import TooManyPartitionsError, refuse_too_many
    from forecast_assets.settings import settings

    chosen = settings().model_copy(
        update={"calendar_start": calendar[0], "calendar_end": calendar[1]}
    )
    try:
        refuse_too_many(stores, chosen, datetime.now(UTC).date())
    except TooManyPartitionsError as error:
        raise StackError(f"{error}.") from error


def _plan(
    data: Path | None, folder: Path, known: Calendar | None, console: Console
) -> DataPlan | None:
    if data is not None:
        with console.status(f"reading {data}"):
            return plan_of_files(data, live_days=0)
    if known is None:
        console.print("a new stack: filling it with made-up sample data")
        return plan_of_sample(_made_up(folder), live_days=0)
    return None


def _wider(known: Calendar | None, planned: Calendar | None) -> Calendar:
    """Returns the calendar that covers what is there and what comes."""
    spans = [span for span in (known, planned) if span is not None]
    if not spans:
        raise StackError("There is neither data nor a calendar: give DATA=folder.")
    ends = [end for _, end in spans]
    return min(start for start, _ in spans), (
        None if None in ends else max(end for end in ends if end is not None)
    )


def _read_calendar(folder: Path) -> Calendar | None:
    try:
        start, end = json.loads((folder / "calendar.json").read_text())
        return date.fromisoformat(start), date.fromisoformat(end) if end else None
    except (OSError, ValueError, TypeError):
        return None


def _write_calendar(folder: Path, calendar: Calendar) -> None:
    start, end = calendar
    (folder / "calendar.json").write_text(
        json.dumps([start.isoformat(), end.isoformat() if end else ""])
    )
