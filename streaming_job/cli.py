"""The command line: `python -m streaming_job run|drain|create-topic|produce|audit|requeue`.

Exit codes: 0 success; 1 the audit found a fault; 2 wrong usage, such as files that cannot be sent;
3 refused, a person must decide; 4 PostgreSQL or Kafka does not answer;
5 Spark's Java process died, start again.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Column, Table

from rossmann.kaggle import BadRow, list_bad_rows
from rossmann.parsing import MAX_STORE
from streaming_job import audit as audits
from streaming_job import producer
from streaming_job.errors import (
    InputError,
    RefusedError,
    SettingsError,
    SparkDiedError,
    StreamError,
)
from streaming_job.reason_codes import REQUEUED, Reason
from streaming_job.settings import StreamSettings, load_settings

app = typer.Typer(
    help="The stream of sales events from Kafka to PostgreSQL.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
stderr = Console(stderr=True, highlight=False, soft_wrap=True)
stdout = Console(highlight=False, soft_wrap=True)

UNBALANCED, WRONG_USAGE, REFUSED, UNAVAILABLE, SPARK_DIED = 1, 2, 3, 4, 5

AcceptRecreatedTopic = Annotated[
    bool,
    typer.Option(
        "--accept-recreated-topic",
        help="The topic was recreated: read it as another stream, from its first event.",
    ),
]


@contextmanager
def _exit_on_errors() -> Iterator[None]:
    """Print a `StreamError` as one line and exit with its code."""
    try:
        yield
    except StreamError as error:
        stderr.print(f"[red]error:[/red] {_escape(str(error))}")
        if isinstance(error, InputError):
            code = WRONG_USAGE
        elif isinstance(error, RefusedError | SettingsError):
            code = REFUSED
        else:
            code = SPARK_DIED if isinstance(error, SparkDiedError) else UNAVAILABLE
        raise typer.Exit(code) from error


def _escape(text: str) -> str:
    printable = "".join(letter if letter.isprintable() else "?" for letter in text)
    return printable.replace("[", r"\[")


def _log_to_stderr() -> None:
    logging.basicConfig(
        level=logging.INFO,
        stream=sys.stderr,
        format="%(asctime)s %(levelname)s %(message)s",
        datefmt="%H:%M:%S",
    )
    # Their messages on every reconnect would bury the lines that matter.
    for name in ("kafka", "py4j", "pyspark"):
        logging.getLogger(name).setLevel(logging.CRITICAL)


@app.command()
def run(
    accept_recreated_topic: AcceptRecreatedTopic = False,
    progress_seconds: Annotated[
        float, typer.Option(min=0.5, help="Seconds between progress lines.")
    ] = 5.0,
) -> None:
    """Store events as they arrive, until SIGTERM or Ctrl-C."""
    from streaming_job import metrics
    from streaming_job import run as runs

    _log_to_stderr()
    log = logging.getLogger("streaming_job")
    with _exit_on_errors():
        settings = load_settings()
        port = settings.stream_metrics_port
        host = settings.stream_metrics_host
        secret = settings.metrics_token
        token = None if secret is None else secret.get_secret_value()
        server = None if port is None else metrics.MetricsServer(port, host, token)
        if server is not None:
            log.info("metrics at http://%s:%d/metrics", host, server.port)

        def report(progress: runs.Progress) -> None:
            log.info(progress.summary())
            if server is not None:
                server.update(progress, supervisor.starts)

        supervisor = runs.Supervisor(
            settings,
            on_progress=report,
            accept_recreated_topic=accept_recreated_topic,
            progress_seconds=progress_seconds,
        )
        with runs.stop_on_signals(supervisor.stopping):
            supervisor.run()
        log.info("stopped")


@app.command()
def drain(accept_recreated_topic: AcceptRecreatedTopic = False) -> None:
    """Store what the topic holds now, then exit."""
    from streaming_job import drain as drains

    _log_to_stderr()
    with _exit_on_errors():
        counts = drains.drain(load_settings(), accept_recreated_topic=accept_recreated_topic)
    stdout.print(
        f"stored {counts.stored:,}, quarantined {counts.quarantined:,}, "
        f"offsets without an event {counts.gaps:,}, expired unread {counts.expired:,}"
    )


@app.command("create-topic")
def create_topic(
    partitions: Annotated[
        int, typer.Option(min=1, help="Its topic-partitions: the stream's parallelism at most.")
    ] = 4,
    replicas: Annotated[int, typer.Option(min=1, help="How many brokers keep a copy of each.")] = 1,
) -> None:
    """Create the topic of the sales events; leave one that exists as it is."""
    from streaming_job import kafka_client

    with _exit_on_errors():
        settings = load_settings()
        topic = settings.sales_topic
        is_new = kafka_client.create_topic(
            settings.kafka_bootstrap_servers, topic, partitions, replicas
        )
    stdout.print(
        f"created {topic} with {partitions} topic-partitions"
        if is_new
        else f"{topic} is there already, and stays as it is"
    )


@app.command()
def produce(
    data: Annotated[Path, typer.Option(help="Folder with train.csv, plain, .gz or .zip.")],
    day: Annotated[
        datetime, typer.Option("--date", formats=["%Y-%m-%d"], help="First day to send.")
    ],
    until: Annotated[
        datetime | None,
        typer.Option(formats=["%Y-%m-%d"], help="Last day to send; by default the first."),
    ] = None,
    skip_bad: Annotated[
        bool, typer.Option("--skip-bad", help="Set bad lines of the file aside, and list them.")
    ] = False,
) -> None:
    """Send the sales of one or more days to the topic."""
    with _exit_on_errors():
        settings = load_settings()
        skipped: list[BadRow] | None = [] if skip_bad else None
        rows = producer.read_days(data, day.date(), (until or day).date(), skipped)
        for line in list_bad_rows(skipped or []):
            stderr.print(_escape(line))
        with Progress(
            TextColumn("sending"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=stderr,
        ) as bar:
            task = bar.add_task("sending", total=len(rows))
            sent = producer.produce(
                rows,
                bootstrap_servers=settings.kafka_bootstrap_servers,
                topic=settings.sales_topic,
                on_progress=lambda done, _total: bar.update(task, completed=done),
            )
    stdout.print(f"sent {sent:,} events to {settings.sales_topic}")


@app.command()
def requeue(
    reason: Annotated[
        list[Reason] | None,
        typer.Option(help="Only events quarantined for this reason; repeat it for several."),
    ] = None,
) -> None:
    """Validate quarantined events again, and store those that are valid now."""
    from streaming_job import requeue as requeues

    _log_to_stderr()
    log = logging.getLogger("streaming_job")
    with _exit_on_errors():
        stored = requeues.requeue(
            load_settings(),
            reasons=reason or REQUEUED,
            on_progress=lambda checked, done: log.info("checked %d, stored %d", checked, done),
        )
    stdout.print(f"stored {stored:,} events that were in quarantine")


@app.command()
def withdraw(
    store: Annotated[int, typer.Option(help="The store.", min=1, max=MAX_STORE)],
    day: Annotated[datetime, typer.Option("--date", formats=["%Y-%m-%d"], help="The day.")],
    reason: Annotated[str, typer.Option(help="Why; it is kept with the event.")],
    every: Annotated[
        bool,
        typer.Option(
            "--all", help="Withdraw every event of the day, not only the one that counts."
        ),
    ] = False,
) -> None:
    """Take back stored sales of a store and day: they move to quarantine, and forecasts follow."""
    from streaming_job import withdraw as withdrawals

    with _exit_on_errors():
        url = load_settings().database_url
        done = withdrawals.withdraw(url, store, day.date(), reason, every=every)
    for sale in done.withdrawn:
        stdout.print(f"withdrew {_escape(str(sale))}")
    counts = "none" if done.remaining is None else _escape(str(done.remaining))
    stdout.print(f"what counts for store {store} on {day:%Y-%m-%d} now: {counts}")


@app.command()
def audit(
    deep: Annotated[
        bool, typer.Option("--deep", help="Compare with every event that Kafka still retains.")
    ] = False,
) -> None:
    """Prove that every consumed offset is one stored row or one quarantined event."""
    with _exit_on_errors():
        settings = load_settings()
        report = audits.deep_audit(settings) if deep else audits.audit(settings.database_url)
        waiting = _what_waits(settings, report)
    # A name or an offset that was cut off could not be looked up.
    names, counts = ("topic-partition", "offsets"), ("stored", "quarantined", "gaps", "expired")
    table = Table(*(Column(name, overflow="fold") for name in (*names, *counts)))
    for partition in report.partitions:
        table.add_row(
            f"{partition.name} (stream {partition.stream_id})",
            f"{partition.first_offset} … {partition.next_offset}",
            str(partition.raw_rows),
            str(partition.quarantine_rows),
            str(partition.gaps),
            str(partition.expired),
        )
    stdout.print(table)
    if deep:
        stdout.print(f"compared {report.compared:,} events of Kafka with the tables")
    if report.compacted:
        stdout.print(f"{report.compacted:,} stored events were compacted away by Kafka since")
    if report.outdated:
        stdout.print(
            f"{report.outdated:,} corrections arrived late and do not count, because their own "
            "time is earlier:"
        )
        for example in report.outdated_examples:
            stdout.print(f"  {_escape(example)}")
    for fault in report.faults:
        stderr.print(f"[red]fault:[/red] {_escape(fault)}")
    if not report.balanced:
        stderr.print("do not delete anything; keep the topic, and inspect the offsets above")
        raise typer.Exit(UNBALANCED)
    stored = sum(partition.raw_rows for partition in report.partitions)
    quarantined = sum(partition.quarantine_rows for partition in report.partitions)
    stdout.print(
        f"balanced: {stored:,} stored, {quarantined:,} quarantined, nothing lost or duplicated"
        f"{waiting}"
    )


def _what_waits(settings: StreamSettings, report: audits.AuditReport) -> str:
    """Return what an audit's verdict leaves out, to append to it; nothing if nothing waits."""
    try:
        waiting = audits.waiting_events(settings, report)
    except StreamError as error:
        # The tables and the ledger are judged without Kafka, and that stands.
        return f"; what waits in Kafka is unknown and not part of this ({_escape(str(error))})"
    if not waiting:
        return ""
    events = "event waits in Kafka and is" if waiting == 1 else "events wait in Kafka and are"
    return f"; {waiting:,} {events} not part of this"
