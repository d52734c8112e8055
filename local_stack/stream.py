"""The always-on Spark stream as a process of the stack."""

import sys
from collections.abc import Mapping

from local_stack.environment import component_environment
from local_stack.errors import StackError
from local_stack.processes import START_SECONDS, Command, Processes, Record

NAME = "stream"
#: What it logs once the query runs; see `streaming_job/run.py`.
READY_MESSAGE = "from offsets"
#: What a start needs, once, when the topic is another one than the ledger knows.
ACCEPT_OPTION = "--accept-recreated-topic"


def start_stream(
    processes: Processes, values: Mapping[str, str], *, accept_recreated_topic: bool = False
) -> Record:
    """Start `python -m streaming_job run` and wait until it reads.

    Args:
        processes: The processes of the stack.
        values: The contract's variables.
        accept_recreated_topic: Whether to read a topic that was recreated, as another stream.

    Raises:
        StackError: The stream does not come up.
    """
    log = processes.log(NAME)
    size_before = log.stat().st_size if log.exists() else 0
    record = processes.start(
        Command(
            name=NAME,
            arguments=[
                *(sys.executable, "-m", "streaming_job", "run"),
                *([ACCEPT_OPTION] if accept_recreated_topic else []),
            ],
            environment=component_environment("stream", values),
            # A batch in flight is allowed to finish.
            stop_seconds=30,
        )
    )

    def is_ready() -> bool:
        if not log.exists():
            return False
        with log.open("rb") as file:
            # A log that is smaller than it was has been rotated.
            file.seek(size_before if log.stat().st_size >= size_before else 0)
            return READY_MESSAGE.encode() in file.read()

    try:
        processes.wait_until_ready(record, is_ready, START_SECONDS, "reading from the topic")
    except StackError as error:
        if ACCEPT_OPTION not in str(error):
            raise
        raise StackError(f"{error}\nFor the embedded stack: `make up NEW_TOPIC=1`.") from error
    return record
