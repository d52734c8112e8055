"""The whole stack as one handle: any subset of services, started in parallel, stopped as one.

How a service starts is in its own module; `make up` and the demo are in `background.py` and
`demo.py`.
"""

import shutil
import sys
from collections.abc import Callable, Collection, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from types import TracebackType
from typing import Self

from forecast_assets.servers.options import (
    METRICS_TOKEN_VARIABLE,
    MLFLOW_TOKEN_VARIABLE,
    UI_TOKEN_VARIABLE,
)
from local_stack import java, paths, schema
from local_stack.code_server import NAME as CODE_SERVER
from local_stack.code_server import CodeServer
from local_stack.dagster_processes import DAEMON, WEBSERVER, Dagster
from local_stack.environment import component_environment, repository_settings
from local_stack.errors import StackError
from local_stack.exporter import NAME as EXPORTER
from local_stack.exporter import Exporter
from local_stack.forecast_api import NAME as SERVICE
from local_stack.forecast_api import TOKEN_VARIABLE as SERVICE_TOKEN_VARIABLE
from local_stack.forecast_api import URL_VARIABLE as SERVICE_URL_VARIABLE
from local_stack.forecast_api import ForecastService
from local_stack.kafka import NAME as KAFKA
from local_stack.kafka import Kafka
from local_stack.mlflow_server import NAME as MLFLOW
from local_stack.mlflow_server import MlflowServer
from local_stack.postgres import NAME as POSTGRES
from local_stack.postgres import Postgres
from local_stack.private import make_private, server_user
from local_stack.processes import Processes
from local_stack.services import NEEDS, SERVICES, with_needs
from local_stack.stream import NAME as STREAM
from local_stack.stream import start_stream
from local_stack.watchdog import Watchdog

TOPIC = "sales"
#: Two cores, up to four attempts per task: `local[2]` alone never retries.
SPARK_MASTER = "local[2,4]"
DEFAULT_CALENDAR_START = date(2013, 1, 1)
#: Free disk space to start with: Kaggle's files as tables plus the logs of Kafka and PostgreSQL.
NEEDED_BYTES = 1024**3


class Stack:
    """A running stack; create it with `Stack.start(...)` in a `with` statement."""

    def __init__(
        self,
        folder: Path,
        calendar: tuple[date, date | None] = (DEFAULT_CALENDAR_START, None),
    ) -> None:
        """Remember where things are; nothing is started yet.

        Args:
            folder: The stack's folder: data, logs, PID files.
            calendar: First day and last day of the sales calendar; None leaves the end open.
        """
        self.folder = folder.resolve()
        self.calendar = calendar
        self.processes = Processes(self.folder)
        self.postgres = Postgres(self.processes)
        self.kafka = Kafka(self.processes)
        self.mlflow = MlflowServer(self.processes)
        self.code_server = CodeServer(self.processes)
        self.dagster = Dagster(self.processes)
        self.service = ForecastService(self.processes)
        self.exporter = Exporter(self.processes)
        #: Whether a stream that starts may read a topic that was recreated, as another stream.
        self.accept_recreated_topic = False
        self._watchdog: Watchdog | None = None

    @classmethod
    def start(
        cls,
        folder: Path,
        services: Collection[str] = SERVICES,
        *,
        calendar: tuple[date, date | None] = (DEFAULT_CALENDAR_START, None),
        watch: bool = True,
        remove_when_dead: Collection[Path] = (),
        say: Callable[[str], None] = lambda line: None,
    ) -> Self:
        """Start services and those they need, in parallel where possible.

        Args:
            folder: The stack's folder; existing data is kept and used.
            services: Some of `SERVICES`.
            calendar: First day and last day (or None) of the sales calendar.
            watch: Whether the services end when this process dies; not so for `make up`.
            remove_when_dead: Files to remove when this process dies.
            say: Called with one line for each service that is ready.

        Returns:
            The running stack.

        Raises:
            StackError: A service did not start; all others are stopped.
        """
        stack = cls(folder, calendar)
        stack.close_folders()
        free = shutil.disk_usage(stack.folder).free
        if free < NEEDED_BYTES:
            raise StackError(
                f"The disk of {stack.folder} has {free // 2**20} MB left, and the stack's data "
                f"needs about {NEEDED_BYTES // 2**20} MB: free some space and start again."
            )
        if stack.processes.alive():
            names = ", ".join(record.name for record in stack.processes.alive())
            raise StackError(
                f"A stack is already running in {stack.folder} ({names}): stop it first."
            )
        # Leftovers of an earlier stack would hold its ports and its data.
        stack.processes.stop_all()
        if watch:
            stack._watchdog = Watchdog(stack.folder, list(remove_when_dead))
        try:
            stack.start_services(services, say)
        except BaseException:
            stack.stop()
            raise
        return stack

    @classmethod
    def attach(cls, folder: Path, calendar: tuple[date, date | None]) -> Self:
        """Return a handle to a stack that another process has started.

        Args:
            folder: The stack's folder.
            calendar: First day and last day (or None) of the sales calendar.
        """
        stack = cls(folder, calendar)
        for name, service in (
            (POSTGRES, stack.postgres),
            (KAFKA, stack.kafka),
            (MLFLOW, stack.mlflow),
            (CODE_SERVER, stack.code_server),
            (WEBSERVER, stack.dagster),
            (SERVICE, stack.service),
            (EXPORTER, stack.exporter),
        ):
            if stack.processes.find(name) is not None:
                service.resume()
        return stack

    @classmethod
    @contextmanager
    def temporary(
        cls,
        folder: Path,
        services: Collection[str] = SERVICES,
        *,
        calendar: tuple[date, date | None] = (DEFAULT_CALENDAR_START, None),
    ) -> Iterator[Self]:
        """Start a stack that leaves nothing behind, however the block ends.

        When root starts it, its database may lie outside its folder, so removing the folder alone
        is not enough.

        Args:
            folder: The stack's folder; removed at the end.
            services: Some of `SERVICES`.
            calendar: First day and last day (or None) of the sales calendar.

        Raises:
            StackError: A service did not start; all others are stopped.
        """
        stack = cls.start(folder, services, calendar=calendar)
        try:
            yield stack
        finally:
            stack.stop()
            stack.remove_data()

    def start_services(
        self, services: Collection[str], say: Callable[[str], None] = lambda line: None
    ) -> None:
        """Start those services, and those they need, that are not running.

        If one does not start, those that were started here end again; the others run on.

        Args:
            services: Some of `SERVICES`.
            say: Called with one line for each service that is ready.

        Raises:
            StackError: A service did not start.
        """
        self.close_folders()
        wanted = with_needs(services)
        before = {record.name for record in self.processes.alive()}
        waiting = {name for name in wanted if not self.is_running(name)}
        ready = wanted - waiting
        # Stream and service ask for the same token.
        self.exporter.prepare()
        if MLFLOW in waiting:
            self.mlflow.choose_port()
        running: dict[Future[None], str] = {}
        failure: BaseException | None = None
        with ThreadPoolExecutor(max_workers=len(NEEDS)) as pool:
            try:
                while waiting or running:
                    for name in sorted(waiting):
                        if ready >= NEEDS[name]:
                            running[pool.submit(self._start_one, name)] = name
                            waiting.discard(name)
                    done, _ = wait(running, return_when=FIRST_COMPLETED)
                    for future in done:
                        name = running.pop(future)
                        error = future.exception()
                        if error is None:
                            ready |= {name}
                            say(f"{name} is ready")
                        elif failure is None:
                            failure = error
                            waiting.clear()
                            # Otherwise the pool waits minutes for services that cannot come up.
                            self._stop_but(before)
            except BaseException:
                self._stop_but(before)
                raise
        if failure is not None:
            # One may have begun while the others were being ended.
            self._stop_but(before)
            raise failure
        if self.exporter.port is not None:
            self.exporter.write_config(self.service.port)

    def _stop_but(self, kept: Collection[str]) -> None:
        """End every service but some; all that is left over if those are none."""
        if not kept:
            self.processes.stop_all()
            return
        for record in self.processes.records()[::-1]:
            if record.name not in kept:
                self.processes.stop(record.name)

    def close_folders(self) -> None:
        """Make the stack's folder, closed to other users but for PostgreSQL's way to its data."""
        if self.folder.parent == paths.STACKS:
            make_private(paths.STACKS, passage=server_user())
        make_private(self.folder, passage=server_user())

    def __enter__(self) -> Self:
        """Return the stack."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop everything."""
        self.stop()

    def stop(self) -> None:
        """Stop every service in reverse order; safe to call again."""
        self.processes.stop_all()
        if self._watchdog is not None:
            self._watchdog.dismiss()
            self._watchdog = None

    def stop_service(self, name: str) -> None:
        """Stop one service in an orderly way."""
        self.processes.stop(name)

    def kill_service(self, name: str) -> None:
        """Kill one service with signal 9."""
        self.processes.kill(name)

    def restart_service(self, name: str) -> None:
        """Stop a service if it is running, and start it again on the data it had."""
        self.processes.stop(name)
        self._start_one(name)

    def is_running(self, name: str) -> bool:
        """Tell whether a service runs."""
        if self.processes.find(name) is None:
            return False
        # Its process outlives the child that runs the code.
        return name != CODE_SERVER or self.code_server.answers()

    def remove_data(self) -> None:
        """Remove all data, logs and PID files for good; the stack must be stopped."""
        self.postgres.remove()
        self.code_server.remove()
        if self.folder.exists():
            shutil.rmtree(self.folder)

    # Addresses -----------------------------------------------------------------------------------

    @property
    def environment(self) -> dict[str, str]:
        """The contract's variables, as far as running services provide them."""
        start, end = self.calendar
        values = {
            "SALES_TOPIC": TOPIC,
            "SPARK_STREAM_CHECKPOINTS_PATH": str(self.folder / "checkpoints"),
            "SPARK_MASTER": SPARK_MASTER,
            "SPARK_JARS_DIR": str(paths.SPARK_JARS),
            "SERVICE_CHARTS_JAR": str(paths.CHARTS_JAR),
            "SALES_CALENDAR_START": start.isoformat(),
            "SALES_CALENDAR_END": end.isoformat() if end else "",
            "DAGSTER_HOME": str(self.dagster.home),
            "PYSPARK_PYTHON": sys.executable,
            **repository_settings(),
        }
        if self.postgres.port is not None:
            values |= self.database_urls("sales")
            values["DAGSTER_POSTGRES_URL"] = self.postgres.url("dagster", "dagster")
            values["DAGSTER_READER_DATABASE_URL"] = self.postgres.url("dagster_reader", "dagster")
        if self.kafka.port is not None:
            values["KAFKA_BOOTSTRAP_SERVERS"] = self.kafka.bootstrap_servers
            values |= self.kafka.access.environment()
        if self.dagster.port is not None:
            values["DAGSTER_WEBSERVER_URL"] = self.dagster.url
            values[UI_TOKEN_VARIABLE] = self.dagster.token
        if self.mlflow.port is not None:
            values["MLFLOW_TRACKING_URI"] = self.mlflow.url
            values[MLFLOW_TOKEN_VARIABLE] = self.mlflow.token
        if self.service.port is not None:
            values[SERVICE_URL_VARIABLE] = self.service.url
            values[SERVICE_TOKEN_VARIABLE] = self.service.token
        if self.exporter.folder.exists():
            values[METRICS_TOKEN_VARIABLE] = self.exporter.token
        try:
            values["JAVA_HOME"] = str(java.java_home())
        except StackError:
            # PostgreSQL and Dagster run without Java; what needs it reports it.
            return values
        return values

    def database_urls(self, database: str) -> dict[str, str]:
        """Return a sales database's address for each role, under the contract's names."""
        return {
            "OWNER_DATABASE_URL": self.postgres.url("sales_owner", database),
            "STREAM_DATABASE_URL": self.postgres.url("sales_stream", database),
            "FORECAST_DATABASE_URL": self.postgres.url("sales_assets", database),
            "READER_DATABASE_URL": self.postgres.url("sales_reader", database),
            "PLANNER_DATABASE_URL": self.postgres.url("sales_planner", database),
        }

    def component_environment(
        self, component: str, changes: Mapping[str, str] | None = None
    ) -> dict[str, str]:
        """Return the whole environment of a component's process, with changed variables."""
        return component_environment(component, self.environment | dict(changes or {}))

    def migrate(self, database: str = "sales") -> None:
        """Bring a sales database's schema up to date.

        Raises:
            StackError: A migration failed.
        """
        owner = self.database_urls(database)["OWNER_DATABASE_URL"]
        schema.migrate(owner, self.folder, self.processes.log("migrations"))

    def _start_one(self, name: str) -> None:
        if name == POSTGRES:
            self.postgres.start()
            self.migrate()
        elif name == KAFKA:
            self.kafka.start()
            self.kafka.create_topic(TOPIC)
        elif name == MLFLOW:
            self.mlflow.start(self.postgres.url("mlflow", "mlflow"))
        elif name == STREAM:
            port = str(self.exporter.stream_port())
            start_stream(
                self.processes,
                self.environment | {"STREAM_METRICS_PORT": port},
                accept_recreated_topic=self.accept_recreated_topic,
            )
        elif name == CODE_SERVER:
            # Its process may still live while the code behind it is gone.
            self.processes.stop(CODE_SERVER)
            self.code_server.start(self.environment)
        elif name == WEBSERVER:
            self.dagster.start_webserver(self.environment, self.code_server.workspace)
        elif name == DAEMON:
            self.dagster.start_daemon(self.environment, self.code_server.workspace)
        elif name == SERVICE:
            self.service.start(self.environment)
        elif name == EXPORTER:
            self.exporter.start(self.environment)
        else:
            raise StackError(
                f"{name} is no service; the services are {', '.join(sorted(SERVICES))}."
            )
