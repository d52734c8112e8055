"""The command line of the benchmark: `python -m benchmarks.ingest`."""

import argparse
import json
from pathlib import Path

import benchmarks.ingest
from benchmarks.common import say
from benchmarks.ingest.cluster import PLACES, compare_places, measure_place
from benchmarks.ingest.compare import compare
from benchmarks.ingest.ways import WAYS, run_way

EVENTS = 1_000_000
#: In each of several topics, for each of several places: a few minutes in all.
EVENTS_ON_CLUSTER = 400_000


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.ingest", description=benchmarks.ingest.__doc__
    )
    parser.add_argument("--events", type=int, help="default: 1,000,000; with --master, 400,000")
    parser.add_argument("--latency-batches", type=int, default=20)
    parser.add_argument("--ways", nargs="*", choices=WAYS, default=list(WAYS))
    parser.add_argument(
        "--master",
        choices=["standalone"],
        help="run the stream on a Spark cluster on this machine instead, beside `local[2]`",
    )
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    parser.add_argument("--executors", type=int, choices=PLACES, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    """Compare the ways or the places, or run in this process what `compare` asks for."""
    arguments = _arguments()
    if arguments.way:
        result = run_way(arguments.way, arguments.events)
    elif arguments.executors is not None:
        result = measure_place(arguments.executors, arguments.events, arguments.folder)
    elif arguments.master:
        result = compare_places(arguments.events or EVENTS_ON_CLUSTER)
    else:
        events = arguments.events or EVENTS
        result = compare(events, arguments.ways, arguments.latency_batches)
    say(json.dumps(result))


if __name__ == "__main__":
    main()
