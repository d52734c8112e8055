"""The command line of the benchmark: `python -m benchmarks.ingest`."""

import argparse
import json

import benchmarks.ingest
from benchmarks.common import say
from benchmarks.ingest.compare import compare
from benchmarks.ingest.ways import WAYS, run_way


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.ingest", description=benchmarks.ingest.__doc__
    )
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--latency-batches", type=int, default=20)
    parser.add_argument("--ways", nargs="*", choices=WAYS, default=list(WAYS))
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    """Compare the ways, or run only the one that `--way` names in this process."""
    arguments = _arguments()
    if arguments.way:
        result = run_way(arguments.way, arguments.events)
    else:
        result = compare(arguments.events, arguments.ways, arguments.latency_batches)
    say(json.dumps(result))


if __name__ == "__main__":
    main()
