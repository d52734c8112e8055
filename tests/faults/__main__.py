"""Many rounds of faults: `python -m tests.faults --rounds N --seed S` injects one or two per round.

One stack runs through all rounds. Each round sends events, injects its faults at random moments,
waits until the stream has caught up, and checks that every event was stored or quarantined once.
The last line of the output is one JSON object.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from random import Random

from local_stack.stack import Stack
from tests.faults.faults import FAULTS, KILLS, SAFE_IN_PAIRS
from tests.faults.world import Sender, World, new_world, seeded

#: Rounds on one topic and database. Each round checks all of their events, so fewer are faster.
ROUNDS_A_WORLD = 25
EVENTS = 2_000
PER_SECOND = 500.0
#: Share of rounds with two faults.
PAIRS = 0.3


@dataclass(frozen=True)
class Round:
    """Measurements of one round.

    Attributes:
        latency: Seconds from the acknowledgement of a small batch to its commit, before the fault.
        recovery: Seconds from the end of the fault until the stream has caught up; see `play`.
    """

    latency: float
    recovery: float


def play(
    world: World, seed: int, names: list[str], outage: float, events: int = EVENTS
) -> tuple[float, int]:
    """Run one round.

    Returns:
        Seconds from the end of the faults until the tables hold all events sent by then, and the
        number of events that were compared with the tables.

    Raises:
        AssertionError: An event is lost, duplicated or changed, or the stream does not recover.
    """
    rng = seeded(seed)
    sender = Sender(world, rng.randrange(2**31), events, PER_SECOND)
    try:
        sender.wait_until_sending()
        seconds = events / PER_SECOND
        if all(name in KILLS for name in names):
            moments = [rng.uniform(0, seconds) for _ in names]
            _strike_at_once(world, seed, names, moments, sender, outage)
        else:
            for name in names:
                time.sleep(rng.uniform(0, seconds / len(names)))
                FAULTS[name](world, rng, sender, outage)
        recovery = world.wait_until_taken(world.ends())
        sender.wait(180)
    finally:
        sender.kill()
    world.account(sender)
    world.wait_until_taken(world.ends())
    return recovery, world.check()


def _strike_at_once(
    world: World, seed: int, names: list[str], moments: list[float], sender: Sender, outage: float
) -> None:
    """Inject kills at the same time, so that one part may die while another still restarts."""

    def strike(name: str, moment: float) -> None:
        time.sleep(moment)
        FAULTS[name](world, seeded(seed), sender, outage)

    with ThreadPoolExecutor(len(names)) as pool:
        for done in [pool.submit(strike, *pair) for pair in zip(names, moments, strict=True)]:
            done.result()


def main() -> int:
    """Run the command line; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--outage", type=float, default=30.0, help="seconds of an outage")
    parser.add_argument(
        "--only",
        choices=sorted(FAULTS),
        action="append",
        help="inject this fault alone; repeat the option to take several faults in turn",
    )
    arguments = parser.parse_args()
    began = time.monotonic()
    say(f"seed {arguments.seed}, {arguments.rounds} rounds")
    rng = seeded(arguments.seed)
    rounds: list[Round] = []
    folder = Path(tempfile.mkdtemp(prefix="chaos-"))
    with Stack.start(folder, {"postgres", "kafka"}) as stack:
        for first in range(0, arguments.rounds, ROUNDS_A_WORLD):
            name = f"chaos_{first}"
            stack.postgres.create_sales_database(name)
            stack.migrate(name)
            with new_world(stack, stack.database_urls(name)) as world:
                world.wait_until_healthy()
                for number in range(first, min(first + ROUNDS_A_WORLD, arguments.rounds)):
                    names = choose(rng, number, arguments.only)
                    seed = rng.randrange(2**31)
                    label = f"round {number}: {' and '.join(names)}"
                    try:
                        latency = world.healthy_latency(seed)
                        recovery, checked = play(world, seed, names, arguments.outage)
                    except Exception as error:  # report the round before the run ends
                        say(f"{label} (round's seed {seed}) FAILED")
                        say(f"{type(error).__name__}: {error}"[:2_000])
                        say(world.log.read_text()[-6_000:])
                        if not isinstance(error, AssertionError):
                            raise
                        return 1
                    rounds.append(Round(latency, recovery))
                    say(
                        f"{label}: healthy latency {latency:.2f} s, recovered in "
                        f"{recovery:.1f} s, {checked} events as expected "
                        f"[{time.monotonic() - began:.0f} s]"
                    )
    stack.remove_data()
    say(json.dumps(summary(arguments.seed, rounds, time.monotonic() - began)))
    return 0


def choose(rng: Random, number: int, only: list[str] | None) -> list[str]:
    """Choose the faults of a round: one, or two that may be combined."""
    if only:
        return [only[number % len(only)]]
    if rng.random() < PAIRS:
        return rng.sample(SAFE_IN_PAIRS, 2)
    return [rng.choice(sorted(FAULTS))]


def summary(seed: int, rounds: list[Round], seconds: float) -> dict[str, float]:
    """Summarize the run for the last line of its output."""
    latencies = sorted(done.latency for done in rounds)
    recoveries = sorted(done.recovery for done in rounds)
    return {
        "rounds": len(rounds),
        "seed": seed,
        "seconds": round(seconds),
        "events": len(rounds) * EVENTS,
        "healthy_latency_p50_s": round(statistics.median(latencies), 2),
        "healthy_latency_p95_s": round(latencies[int(0.95 * (len(latencies) - 1))], 2),
        "recovery_p50_s": round(statistics.median(recoveries), 1),
        "recovery_p95_s": round(recoveries[int(0.95 * (len(recoveries) - 1))], 1),
        "recovery_max_s": round(recoveries[-1], 1),
        "lost": 0,
        "doubled": 0,
    }


def say(line: str) -> None:
    """Print a line without buffering."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
