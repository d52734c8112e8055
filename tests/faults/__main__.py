"""The long run: `python -m tests.faults --rounds N --seed S`, a fault (or a pair) a round.

One stack stays up. Each round sends events, strikes at a random moment, waits until the stream has
caught up, and checks. The last line is one JSON object.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from local_stack import postgres
from local_stack.stack import Stack
from tests.faults.faults import FAULTS, SAFE_IN_PAIRS
from tests.faults.world import World, kill_group, new_world, seeded

ROUNDS_A_WORLD = 20
"""A fresh topic and database after so many rounds: the check reads all events each round."""
EVENTS = 2_000
PER_SECOND = 500.0


def play(world: World, seed: int, names: list[str], outage: float) -> tuple[float, int]:
    """One round; returns the seconds from the last fault to caught up, and the events checked."""
    rng = seeded(seed)
    sender = world.spawn_sender(seed, EVENTS, PER_SECOND)
    try:
        for name in names:
            time.sleep(rng.uniform(0.2, EVENTS / PER_SECOND / len(names)))
            FAULTS[name](world, rng, sender, outage)
        try:
            sender.wait(180)
        except subprocess.TimeoutExpired as error:
            raise AssertionError("the sender hangs") from error
    finally:
        kill_group(sender)
    world.revive_stream()
    return world.wait_until_caught_up(), world.check()


def main() -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--outage", type=float, default=30.0, help="seconds that something is away")
    parser.add_argument("--only", choices=sorted(FAULTS), action="append")
    arguments = parser.parse_args()
    rng = seeded(arguments.seed)
    say(f"seed {arguments.seed}, {arguments.rounds} rounds")
    recoveries: list[float] = []
    events = 0
    folder = Path(tempfile.mkdtemp(prefix="chaos-"))
    with Stack.start(folder, {"postgres", "kafka"}) as stack:
        owner, others = postgres.DATABASES["sales"]
        for first in range(0, arguments.rounds, ROUNDS_A_WORLD):
            name = f"chaos_{first}"
            stack.postgres.create_database(name, owner, others)
            stack.migrate(name)
            with new_world(stack, stack.database_urls(name)) as world:
                world.wait_until_running()
                for number in range(first, min(first + ROUNDS_A_WORLD, arguments.rounds)):
                    names = [rng.choice(arguments.only or sorted(FAULTS))]
                    if not arguments.only and rng.random() < 0.3:
                        names = rng.sample(SAFE_IN_PAIRS, 2)
                    seed = rng.randrange(2**31)
                    try:
                        seconds, checked = play(world, seed, names, arguments.outage)
                    except AssertionError as error:
                        say(f"round {number}: {' and '.join(names)} (round's seed {seed}) FAILED")
                        say(str(error)[:2_000])
                        say(world.log.read_text()[-3_000:])
                        return 1
                    recoveries.append(seconds)
                    events += EVENTS
                    say(
                        f"round {number}: {' and '.join(names)}: caught up in {seconds:.1f} s, "
                        f"{checked} events right"
                    )
    stack.remove_data()
    say(
        json.dumps(
            {
                "rounds": arguments.rounds,
                "seed": arguments.seed,
                "events": events,
                "recovery_p50_s": round(statistics.median(recoveries), 1),
                "recovery_max_s": round(max(recoveries), 1),
                "lost": 0,
                "doubled": 0,
            }
        )
    )
    return 0


def say(line: str) -> None:
    """Prints a line at once."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
