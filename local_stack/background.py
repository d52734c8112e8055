"""The stack in the background, for `make up`, `make down` and `make status`; its data is kept.

The demo, which starts from nothing and ends what it started, is in `demo.py`.
"""

import json
from calendar import monthrange
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from local_stack import environment, own_settings, paths
from local_stack.code_server import NAME as CODE_SERVER
from local_stack.dagster_processes import DAEMON, WEBSERVER
from local_stack.data_plan import DataPlan, plan_of_files, plan_of_sample
from local_stack.data_status import describe_data
from local_stack.errors import StackError
from local_stack.exporter import NAME as EXPORTER
from local_stack.forecast_api import NAME as SERVICE
from local_stack.kafka import NAME as KAFKA
from local_stack.mlflow_server import NAME as MLFLOW
from local_stack.postgres import NAME as POSTGRES
from local_stack.report import runs_in_progress
from local_stack.stack import SERVICES, Stack
from local_stack.steps import load, only_one
from local_stack.stream import NAME as STREAM

Calendar = tuple[date, date | None]

YEAR = timedelta(days=366)
#: Services whose settings contain the calendar, in the order in which to stop them.
NEED_CALENDAR = (DAEMON, WEBSERVER, CODE_SERVER, STREAM)


def start_background(
    data: Path | None,
    console: Console,
    *,
    skip_bad: bool = False,
    accept_recreated_topic: bool = False,
) -> None:
    """Start the services that are not running; fill a new stack with data first.

    Args:
        data: Folder of Kaggle's files to load, all days as history. None makes sample data for
            a new stack and loads nothing into one that has data.
        console: Where to print progress.
        skip_bad: Whether to set bad lines of the files aside instead of refusing the files.
        accept_recreated_topic: Whether the stream may read a topic that the ledger does not know.

    Raises:
        StackError: A demo is running, a file is invalid or belongs to another chain, or a service
            does not start.
    """
    environment.refuse_foreign_dotenv(paths.DOTENV)
    folder = paths.UP_STACK
    # The demo writes .env too.
    with only_one(paths.STACKS / "demo.lock"):
        known = read_calendar(folder)
        if data is not None and known is not None and _sample_folder(folder).exists():
            raise StackError(
                f"{folder} holds made-up sales, and {data} must not be mixed with them: "
                "delete them with `make down DELETE=1`, then start again."
            )
        plan = _plan(data, folder, known, console, skip_bad=skip_bad)
        calendar = _union(known, _ongoing_calendar(plan) if plan else None)
        if plan is not None:
            _refuse_too_many(plan.stores, calendar)
        stack = Stack.attach(folder, calendar)
        stack.accept_recreated_topic = accept_recreated_topic
        if known is not None and calendar != known:
            _stop_for_another_calendar(stack, calendar, console)
        already = {name for name in SERVICES if stack.is_running(name)}
        if already >= SERVICES and plan is None:
            console.print("the stack is already running")
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
            alive = [record.name for record in stack.processes.alive()]
            for name in reversed([name for name in alive if name not in already]):
                stack.stop_service(name)
            kept = sorted(already & set(alive))
            if kept:
                console.print(f"what ran before still runs: {', '.join(kept)}")
            else:
                environment.remove_dotenv(paths.DOTENV)
            raise
        environment.write_dotenv(paths.DOTENV, stack.environment, stack.folder)
    show_status(console)
    if plan is not None:
        console.print(_what_to_expect(plan, calendar, stack.dagster.url))


def _ongoing_calendar(plan: DataPlan) -> Calendar:
    """Return a calendar that goes on after the files end, because sales do.

    It stays open where its partitions until a year from now are not too many. For old data of many
    stores they are; then it ends a year after the files.
    """
    start, end = plan.calendar
    if _too_many(plan.stores, (start, None), datetime.now(UTC).date() + YEAR) is None:
        return start, None
    later = (end or plan.last_day) + YEAR
    return start, later.replace(day=monthrange(later.year, later.month)[1])


def _stop_for_another_calendar(stack: Stack, calendar: Calendar, console: Console) -> None:
    """Stop the services that would go on with the old calendar, so that they start with the new."""
    running = [name for name in NEED_CALENDAR if stack.is_running(name)]
    if not running:
        return
    console.print(
        f"the calendar becomes {calendar[0]} to {calendar[1] or 'open'}; restarting: "
        f"{', '.join(running)}"
    )
    _list_runs_that_end(stack, console)
    for name in running:
        stack.stop_service(name)


def _what_to_expect(plan: DataPlan, calendar: Calendar, url: str) -> str:
    """Return what happens next to new data, and where to watch it."""
    end = calendar[1]
    closed = ""
    if end is not None:
        closed = (
            f"The calendar ends on {end}: with partitions up to today there would be too many. "
            "Events of later days are quarantined. `make up DATA=folder` with newer files moves "
            "the end; `python -m streaming_job requeue` then takes the quarantined events up.\n"
        )
    return closed + (
        f"{plan.stores:,} stores, sales from {plan.first_day} to {plan.last_day}. The first "
        "refresh and training have begun; the first forecasts take a few minutes. Behind them, at "
        "low priority, a second recipe is compared with the first; the more accurate one serves.\n"
        f"Watch them at {url}/assets/forecasts. `make down` ends the stack and keeps its data."
    )


def stop_background(console: Console, *, delete_data: bool = False) -> None:
    """End the stack in the background, and remove its `.env` and, if asked to, its data."""
    stack = attached(paths.UP_STACK)
    names = [record.name for record in stack.processes.alive()]
    if names:
        try:
            environment.remove_dotenv(paths.DOTENV)
        except OSError as error:
            # The services end all the same; the next start writes it anew.
            console.print(f"{paths.DOTENV} stays as it is: {error}")
        _list_runs_that_end(stack, console)
    with console.status("stopping"):
        stack.stop()
    console.print(f"ended: {', '.join(names)}" if names else "nothing was running")
    if delete_data:
        stack.remove_data()
        console.print(f"deleted: {stack.folder}")


def attached(folder: Path) -> Stack:
    """Return a handle that starts nothing, so its calendar does not matter."""
    return Stack.attach(folder, (date.today(), None))


def _list_runs_that_end(stack: Stack, console: Console) -> None:
    if not stack.is_running(WEBSERVER):
        return
    try:
        running = runs_in_progress(stack.dagster.graphql_url())
    except (OSError, ValueError):
        return  # The webserver does not answer; the list is only a courtesy.
    for run in running:
        console.print(f"a run is in progress and ends now: {run}")


def show_status(console: Console) -> bool:
    """Show the services of `make up` and of a running demo, and what their data are.

    Returns:
        Whether every service that was started, and not ended, still runs.
    """
    dead: list[str] = []
    links: list[str] = []
    table = Table("stack", "service", "PID", "address")
    data: list[str] = []
    for folder in (paths.UP_STACK, paths.DEMO_STACK):
        stack = attached(folder)
        addresses = {
            POSTGRES: f"127.0.0.1:{stack.postgres.port}",
            KAFKA: f"127.0.0.1:{stack.kafka.port}",
            MLFLOW: stack.mlflow.url,
            CODE_SERVER: stack.code_server.address,
            WEBSERVER: stack.dagster.url,
            SERVICE: stack.service.url,
            EXPORTER: stack.exporter.url,
        }
        records = stack.processes.records()
        living = {record.name for record in records if stack.is_running(record.name)}
        for record in records if living else ():
            gone = record.name not in living
            table.add_row(
                folder.name,
                record.name,
                str(record.pid),
                "DEAD" if gone else addresses.get(record.name, ""),
            )
        if living:
            died = [record.name for record in records if record.name not in living]
            dead += [f"stack {folder.name}: {text}" for text in _deaths(died, folder)]
            calendar = read_calendar(folder)
            data += [
                f"{folder.name}: {line}"
                for line in describe_data(stack, calendar[1] if calendar else None)
            ]
        if WEBSERVER in living:
            links.append(f"Dagster, signed in: {stack.dagster.sign_in_link}")
        if MLFLOW in living:
            links.append(f"MLflow, signed in: {stack.mlflow.sign_in_link}")
        if SERVICE in living:
            links.append(f"Planners' pages, signed in: {stack.service.sign_in_link}")
            links.append(
                f"The API: {stack.service.url}/docs, with the token FORECAST_SERVICE_TOKEN of .env"
            )
    if table.row_count:
        console.print(table)
        for line in dead:
            console.print(Text(line, style="bold red"))
        for line in [*data, *links]:
            console.print(line, markup=False)
    else:
        console.print("nothing is running; start with `make demo` or `make up`")
    return not dead


def _deaths(died: list[str], folder: Path) -> list[str]:
    """Return what to say of services that have died: which, and what to do."""
    if not died:
        return []
    them = "it" if len(died) == 1 else "them"
    remedy = (
        f"`make up` starts {them} again"
        if folder == paths.UP_STACK
        else "end that demo with Ctrl-C, and start it anew"
    )
    return [f"{', '.join(sorted(died))} {'is' if len(died) == 1 else 'are'} dead; {remedy}"]


def _sample_folder(folder: Path) -> Path:
    """Return the folder of the sample data that was made for a stack."""
    return folder / "data"


def _refuse_too_many(stores: int, calendar: Calendar) -> None:
    problem = _too_many(stores, calendar, datetime.now(UTC).date())
    if problem:
        raise StackError(f"{problem}.")


def _too_many(stores: int, calendar: Calendar, day: date) -> str | None:
    """Return what is wrong with the number of partitions that there are on a day, if anything."""
    from forecast_assets.defs.partitions import too_many

    planned = own_settings.graph_settings().model_copy(
        update={"calendar_start": calendar[0], "calendar_end": calendar[1]}
    )
    return too_many(stores, planned, day)


def _plan(
    data: Path | None, folder: Path, known: Calendar | None, console: Console, *, skip_bad: bool
) -> DataPlan | None:
    if data is not None:
        with console.status(Text(f"reading {data}")):
            return plan_of_files(data, live_days=0, skip_bad=skip_bad)
    if known is None:
        console.print("a new stack: filling it with made-up sample data")
        return plan_of_sample(_sample_folder(folder), live_days=0)
    return None


def _union(known: Calendar | None, planned: Calendar | None) -> Calendar:
    """Return the calendar that covers the loaded data and the data still to load."""
    spans = [span for span in (known, planned) if span is not None]
    if not spans:
        raise StackError("The stack has neither data nor a calendar: set DATA=folder.")
    ends = [end for _, end in spans]
    return min(start for start, _ in spans), (
        None if None in ends else max(end for end in ends if end is not None)
    )


def read_calendar(folder: Path) -> Calendar | None:
    """Return the calendar of a stack's data; None if it has none."""
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
