"""The command line: `python -m local_stack COMMAND`; the Makefile's targets call it."""

import signal
import sys
from datetime import UTC, date, datetime
from pathlib import Path
from types import FrameType
from typing import Annotated, Never

import psycopg
import typer
from rich.console import Console
from rich.text import Text

from forecasting.threads import limit_blas_threads
from local_stack import environment, inherited, own_settings, paths
from local_stack.errors import StackError

app = typer.Typer(
    help="The embedded stack: PostgreSQL, Kafka, Spark's stream, Dagster and MLflow as local "
    "processes on loopback.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
# Paths and messages are no markup, whatever brackets they contain.
console = Console(highlight=False, soft_wrap=True, markup=False)
errors = Console(stderr=True, highlight=False, soft_wrap=True, markup=False)

#: Exit code that a shell reports for a program ended by Ctrl-C.
INTERRUPTED = 130

Data = Annotated[
    Path | None,
    typer.Option(
        help="Folder with train.csv, store.csv and, if there are plans, test.csv; plain, .gz or "
        ".zip."
    ),
]
SkipBad = Annotated[
    bool,
    typer.Option("--skip-bad", help="Set bad lines of the files aside, and use the others."),
]


#: Commands that start services, which would fail or do something else than they were told.
NEED_RIGHT_SETTINGS = ("demo", "up", "restore")
#: Commands that show what is wrong with the settings, and go on.
SHOW_WRONG_SETTINGS = ("status", "backup")


@app.callback()
def settle_environment(context: typer.Context) -> None:
    """Read the user's settings, and forget what the shell exports besides them."""
    command = context.invoked_subcommand
    wrong = own_settings.take_own_settings(paths.OWN_DOTENV, environment.VARIABLES)
    if wrong and command in NEED_RIGHT_SETTINGS:
        raise StackError("\n".join(wrong))
    for line in wrong if command in SHOW_WRONG_SETTINGS else ():
        errors.print(Text.assemble(("warning: ", "yellow"), line))
    context.obj = wrong
    # The shell's other variables are no settings.
    names = own_settings.settings_of("dagster") - set(environment.VARIABLES)
    inherited.keep_known_variables({*names, own_settings.JAVA_HOME})


@app.command()
def prepare() -> None:
    """Set up a Java, if the machine has none, and fetch the jars."""
    from local_stack import jars, java

    with console.status("looking for Java 17 or 21") as progress:
        java.java_home(allow_install=True)
        fetched = jars.ensure_jars(say=progress.update)
    if fetched:
        console.print(f"fetched {fetched} jars from Maven Central")


@app.command()
def demo(
    data: Data = None,
    once: Annotated[
        bool, typer.Option("--once", help="End after the summary instead of staying up.")
    ] = False,
    skip_bad: SkipBad = False,
) -> None:
    """Run everything from nothing: history, live days, refreshed forecasts, a summary."""
    from local_stack.demo import run_demo

    # Without a terminal nobody can press Ctrl-C.
    ends = once or not sys.stdin.isatty()
    if ends and not once:
        console.print(
            "without a terminal nobody can press Ctrl-C, so the demo ends after its summary; "
            "`make up` keeps a stack running"
        )
    try:
        succeeded = run_demo(data, ends, console, skip_bad=skip_bad)
    except KeyboardInterrupt as interrupt:
        errors.print("interrupted before the end")
        raise typer.Exit(INTERRUPTED) from interrupt
    if not succeeded:
        raise typer.Exit(1)


@app.command()
def up(
    data: Data = None,
    skip_bad: SkipBad = False,
    accept_recreated_topic: Annotated[
        bool,
        typer.Option(
            "--accept-recreated-topic",
            help="The topic is another one than the ledger knows: read it from its first event.",
        ),
    ] = False,
) -> None:
    """Start the stack in the background; its data is kept."""
    from local_stack.background import start_background

    start_background(
        data, console, skip_bad=skip_bad, accept_recreated_topic=accept_recreated_topic
    )


@app.command()
def down(
    delete_data: Annotated[
        bool,
        typer.Option("--delete-data", help="Delete its data too; the next one starts empty."),
    ] = False,
) -> None:
    """End the stack that `up` started; its data is kept unless --delete-data is given."""
    from local_stack.background import stop_background

    stop_background(console, delete_data=delete_data)


@app.command()
def status() -> None:
    """Show what runs, and where; the exit code is 1 if a service is dead."""
    from local_stack.background import show_status

    if not show_status(console):
        raise typer.Exit(1)


@app.command()
def doctor(
    context: typer.Context,
    as_json: Annotated[bool, typer.Option("--json", help="Write JSON for programs.")] = False,
) -> None:
    """Say what is wrong with a stack; the exit code is 0, 1 for warnings, 2 for problems."""
    from local_stack import background
    from local_stack.doctor import examination, findings
    from local_stack.steps import is_held

    folder = paths.UP_STACK
    if not background.attached(folder).processes.alive():
        demo_runs = background.attached(paths.DEMO_STACK).processes.alive()
        folder = paths.DEMO_STACK if demo_runs else folder
    calendar = background.read_calendar(folder)
    found = [
        findings.problem("settings", line, "running services keep what they started with")
        for line in context.obj
    ] or [findings.ok("settings", "what .env.local and the shell set is allowed")]
    found += examination.examine(background.attached(folder), calendar[1] if calendar else None)
    if folder == paths.UP_STACK and is_held(paths.STACKS / "demo.lock"):
        found.append(
            findings.warning(
                "services", "a start is at work, so some may not be up yet", "wait for its end"
            )
        )
    if as_json:
        typer.echo(examination.as_json(found))
    else:
        examination.show(found, console)
    raise typer.Exit(findings.worst(found))


@app.command()
def backup(
    output: Annotated[
        Path | None,
        typer.Option(help="The archive; by default one named by the time, in the folder backups."),
    ] = None,
) -> None:
    """Save the data of the stack that `up` started, running or not, to one archive."""
    from local_stack.background import attached
    from local_stack.backup.embedded import save_stack

    save_stack(attached(paths.UP_STACK), output, console.print)


@app.command()
def restore(
    archive: Annotated[Path, typer.Argument(help="An archive that `backup` made.")],
    replace: Annotated[
        bool, typer.Option("--replace", help="Delete the data that the stack holds.")
    ] = False,
) -> None:
    """Restore an archive into the stack of `up`, which must be down."""
    from local_stack.background import attached
    from local_stack.backup.embedded import restore_stack
    from local_stack.steps import only_one

    with only_one(paths.STACKS / "demo.lock"):
        restored = restore_stack(
            attached(paths.UP_STACK), archive, replace=replace, say=console.print
        )
    console.print(f"restored: {restored.next_step}")


@app.command("sample-data")
def sample_data(
    output: Annotated[Path, typer.Option(help="Folder for the three files.")],
    stores: Annotated[int, typer.Option(min=1, max=1115, help="Number of stores.")] = 100,
    days: Annotated[int, typer.Option(min=14, max=7_305, help="Number of days with sales.")] = 800,
    end: Annotated[
        datetime | None,
        typer.Option(formats=["%Y-%m-%d"], help="The last day with sales; today by default."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the random numbers.")] = 1,
) -> None:
    """Write made-up sales in the format of Kaggle's Rossmann files."""
    from rossmann.sample_data import sample_files

    last: date = end.date() if end else datetime.now(UTC).date()
    if not date(2000, 1, 1) <= last <= date(2100, 1, 1):
        raise typer.BadParameter(f"{last} lies outside the years 2000 to 2099", param_hint="--end")
    try:
        files = sample_files(stores, days, last, seed)
        files.write(output)
    except OSError as error:
        raise StackError(f"{output} cannot be written: {error.strerror or error}.") from error
    console.print(f"{len(files.train):,} store days to {last} written to {output}")


def _interrupt(number: int, frame: FrameType | None) -> Never:
    raise KeyboardInterrupt(signal.Signals(number).name)


def _fail(message: str) -> Never:
    errors.print(Text.assemble(("error: ", "red"), message))
    sys.exit(1)


def main() -> None:
    """Run the command line; errors that the user can fix end in one line and exit code 1."""
    limit_blas_threads()
    # `kill` and a closed terminal stop the stack as Ctrl-C does.
    signal.signal(signal.SIGTERM, _interrupt)
    signal.signal(signal.SIGHUP, _interrupt)
    try:
        app(prog_name="python -m local_stack")
    except StackError as error:
        _fail(str(error))
    except psycopg.OperationalError as error:
        reason = (str(error).strip().splitlines() or ["no message"])[0]
        _fail(f"PostgreSQL went away ({reason}): the logs under {paths.STACKS} say why.")


if __name__ == "__main__":
    main()
