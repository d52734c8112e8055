"""Steps that the demo, `make up` and the benchmarks share: the lock, loading, commands, waiting.

What the demo does with them is in `demo.py`, the stack in the background in `background.py`.
"""

import fcntl
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console

from local_stack.data_plan import DataPlan
from local_stack.errors import StackError
from local_stack.mlflow_server import NAME as MLFLOW
from local_stack.private import make_private, server_user
from local_stack.report import failed_runs
from local_stack.stack import SERVICES, Stack
from rossmann.kaggle import list_bad_rows

#: Seconds between two looks at a condition.
POLL_SECONDS = 0.1
#: Seconds between two looks at the services.
SERVICES_EVERY_SECONDS = 5.0


@contextmanager
def only_one(lock: Path) -> Iterator[None]:
    """Hold a lock file while the block runs; the kernel frees it with the process.

    Raises:
        StackError: Another process holds it.
    """
    make_private(lock.parent, passage=server_user())
    with lock.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise StackError(
                "Another `make demo` or `make up` of this folder is at work: wait until it is "
                "done, or end it with Ctrl-C."
            ) from error
        yield


def is_held(lock: Path) -> bool:
    """Tell whether a process holds a lock file."""
    if not lock.exists():
        return False
    with lock.open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return True
    return False


def load(stack: Stack, plan: DataPlan, console: Console) -> None:
    """Load stores, the history's sales and the planned days; list lines that are set aside.

    Raises:
        StackError: The loader refused the files.
    """
    for line in list_bad_rows(plan.skipped or []):
        console.print(line)
    run_command(
        stack,
        "loader",
        [
            "forecast_assets",
            "load",
            f"--data={plan.folder.resolve()}",
            f"--until={plan.history_until}",
            *(["--skip-bad"] if plan.skipped is not None else []),
        ],
        "loading history",
        console,
    )


def run_command(
    stack: Stack, component: str, arguments: list[str], what: str, console: Console
) -> str:
    """Run one of the project's command lines with its component's environment.

    Args:
        stack: The running stack.
        component: Whose environment the command gets.
        arguments: Package, command and options.
        what: What it does, for messages.
        console: Where to print how long it took.

    Returns:
        What it printed.

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
        raise StackError(f"{what} failed: {last} (the full output is in {short(log)})")
    console.print(f"{what}: {time.monotonic() - started:.1f} s")
    return answer.stdout


def wait_for(stack: Stack, done: Callable[[], bool], seconds: float, what: str) -> None:
    """Wait for a condition, and give up early when a service has died.

    Raises:
        StackError: A service died, or the time is up; failed runs are named.
    """
    deadline = time.monotonic() + seconds
    next_look = time.monotonic() + SERVICES_EVERY_SECONDS
    while not done():
        now = time.monotonic()
        if now > next_look:
            next_look = now + SERVICES_EVERY_SECONDS
            # Forecasts do not wait for MLflow.
            refuse_dead(stack, SERVICES - {MLFLOW}, f" while waiting for {what}")
        if now > deadline:
            failed = failed_runs(stack.dagster.graphql_url())
            hint = f" Failed runs: {', '.join(failed)}." if failed else ""
            raise StackError(
                f"{what} did not come within {seconds:.0f} s.{hint} "
                f"The logs are in {short(stack.processes.log_folder)}."
            )
        time.sleep(POLL_SECONDS)


def refuse_dead(stack: Stack, services: frozenset[str], when: str = "") -> None:
    """Make sure that services still run.

    Raises:
        StackError: One has ended; its log's last lines are in the message.
    """
    for name in sorted(services):
        if not stack.is_running(name):
            raise StackError(
                f"{name} has ended{when}; its log ends with:\n{stack.processes.log_tail(name)}"
            )


def short(path: Path) -> str:
    """Return a path relative to the working directory where it lies below it."""
    return os.path.relpath(path) if path.is_relative_to(Path.cwd()) else str(path)
