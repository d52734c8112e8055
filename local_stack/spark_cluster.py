"""A standalone Spark cluster on loopback: a master and workers, each a process of its own.

No stack starts it: `make up` computes in the stream's own process. The benchmark of the stream and
the tests of backfills do. In containers, `deploy/docker/spark.sh` starts the same two programs.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pyspark

from local_stack import java
from local_stack.inherited import service_base
from local_stack.network import LOOPBACK, free_ports, is_listening
from local_stack.private import kept_secret, make_private, write_private
from local_stack.processes import Command, Processes, Record
from streaming_job.session import SECRET_VARIABLE

MASTER = "spark-master"
WORKER = "spark-worker"
START_SECONDS = 120.0
#: Memory of a master's or a worker's own Java, which only keeps books.
DAEMON_MEMORY = "256m"
#: What a worker logs once the master knows it.
_REGISTERED = "Successfully registered with master"

# Whoever reaches the master could otherwise run code on the workers.
_PROPERTIES = f"""spark.authenticate true
spark.authenticate.secret see {SECRET_VARIABLE}
"""


class SparkCluster:
    """A master and its workers; they end with the other processes of their stack."""

    def __init__(
        self, processes: Processes, executor_environment: Mapping[str, str] | None = None
    ) -> None:
        """Remember where things are; nothing is started yet.

        Args:
            processes: The processes of the stack.
            executor_environment: What executors find in their environment: a driver hands over
                nothing of its own, and the stream's tasks ask the broker, too.
        """
        self._executor_environment = dict(executor_environment or {})
        self._processes = processes
        self._folder = processes.folder / "spark"
        self._home = Path(pyspark.__file__).parent
        self._port: int | None = None
        self._workers = 0

    @property
    def master(self) -> str:
        """The address for drivers, as `SPARK_MASTER`."""
        return f"spark://{LOOPBACK}:{self._port}"

    def start(self, workers: int, cores: int = 1, memory: str = "1g") -> None:
        """Start the master and its workers, and wait until it knows all of them.

        Args:
            workers: Number of workers.
            cores: Cores that each worker offers to executors; more than the machine has are fine.
            memory: Memory that each worker offers to executors.

        Raises:
            StackError: No Java, or a process does not come up.
        """
        make_private(self._folder)
        write_private(self._properties, _PROPERTIES)
        (self._port,) = free_ports(1)
        record = self._start(MASTER, "master.Master", ["--port", str(self._port)])
        self._processes.wait_until_ready(record, self._is_listening, START_SECONDS, "listening")
        for _ in range(workers):
            self.add_worker(cores, memory)

    def add_worker(self, cores: int = 1, memory: str = "1g") -> Record:
        """Start another worker and wait until the master knows it.

        Raises:
            StackError: It does not come up.
        """
        self._workers += 1
        name = f"{WORKER}-{self._workers}"
        arguments = [
            *("--cores", str(cores), "--memory", memory),
            *("--work-dir", str(self._folder / name), self.master),
        ]
        record = self._start(name, "worker.Worker", arguments)
        log = self._processes.log(name)
        self._processes.wait_until_ready(
            record,
            lambda: log.exists() and _REGISTERED in log.read_text(errors="replace"),
            START_SECONDS,
            "registered with the master",
        )
        return record

    def stop(self) -> None:
        """End the workers with their executors, then the master."""
        for number in range(self._workers, 0, -1):
            self._processes.stop(f"{WORKER}-{number}")
        self._processes.stop(MASTER)
        self._workers = 0

    def driver_settings(
        self, executors: int, cores: int = 1, memory: str = "512m"
    ) -> dict[str, str]:
        """Return the settings of a driver on this machine that asks for some executors.

        Without a limit, a driver takes every core of the cluster, and the next one waits.

        Args:
            executors: How many executors it gets, if the workers have room for them.
            cores: Cores of each executor.
            memory: Memory of each executor's Java; its Python processes need theirs besides.
        """
        folder = self._folder / f"driver-{executors}-{cores}-{memory}"
        folder.mkdir(exist_ok=True)
        (folder / "spark-defaults.conf").write_text(
            f"spark.executor.cores {cores}\nspark.executor.memory {memory}\n"
        )
        return {
            "SPARK_MASTER": self.master,
            "SPARK_MAX_CORES": str(executors * cores),
            "SPARK_DRIVER_HOST": LOOPBACK,
            "SPARK_DRIVER_BIND_ADDRESS": LOOPBACK,
            "SPARK_AUTHENTICATE_SECRET": self._secret,
            "SPARK_DEFAULTS_DIR": str(folder),
        }

    @property
    def _secret(self) -> str:
        return kept_secret(self._folder / "secret")

    @property
    def _properties(self) -> Path:
        return self._folder / "cluster.conf"

    def _is_listening(self) -> bool:
        return self._port is not None and is_listening(self._port)

    def _start(self, name: str, program: str, arguments: list[str]) -> Record:
        environment = service_base() | self._executor_environment
        environment |= {
            "JAVA_HOME": str(java.java_home()),
            "SPARK_HOME": str(self._home),
            SECRET_VARIABLE: self._secret,
            # Their pages ask for nothing, and there is no use for them here.
            "SPARK_LOCAL_IP": LOOPBACK,
            "SPARK_DAEMON_MEMORY": DAEMON_MEMORY,
        }
        return self._processes.start(
            Command(
                name=name,
                arguments=[
                    str(self._home / "bin" / "spark-class"),
                    f"org.apache.spark.deploy.{program}",
                    *("--host", LOOPBACK, "--webui-port", "0"),
                    *("--properties-file", str(self._properties)),
                    *arguments,
                ],
                environment=environment,
                # Executors have to end with their worker, whatever it manages to tell them.
                whole_family=name != MASTER,
            )
        )
