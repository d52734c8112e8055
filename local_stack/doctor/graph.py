"""Dagster: daemon, queue, runs, sensors, checks, and whether the asset graph loads."""

import time
from collections.abc import Collection, Iterator
from dataclasses import replace

from forecast_assets.monitoring.dagster_database import DagsterDatabase
from forecast_assets.monitoring.sources import SourceError
from forecast_assets.planning.dagster_health import dagster_problems
from local_stack.dagster_processes import Dagster
from local_stack.doctor.findings import Finding, entry, ok, problem, warning
from local_stack.errors import StackError


def examine_dagster(reader_url: str, told: Collection[str] = ()) -> Iterator[Finding]:
    """Apply the rules about Dagster to what its database says.

    Args:
        reader_url: The address of Dagster's database, for its reader.
        told: The health rules whose violations have been told. A check that judges one of them
            fails for the same reason, and is not told again.
    """
    from forecast_assets.defs.checks import WATCHED

    database = DagsterDatabase(reader_url)
    try:
        facts = database.read()
    except SourceError as error:
        yield problem("dagster", str(error), f"see {entry('DatabaseAway')}")
        return
    finally:
        database.close()
    repeats = {name for name, (_, rules) in WATCHED.items() if any(rule in told for rule in rules)}
    facts = replace(facts, checks=[row for row in facts.checks if row["name"] not in repeats])
    found = dagster_problems(facts, time.time())
    for one in found:
        find = problem if one.is_urgent else warning
        yield find("dagster", one.says, f"see {entry(one.alert)}")
    if not found:
        sensors = {row["name"] for row in facts.ticks}
        yield ok("dagster", f"the daemon lives, {len(sensors)} sensors and schedules have ticked")


def examine_definitions(dagster: Dagster) -> Iterator[Finding]:
    """Ask the webserver whether the asset graph loads, and what is switched off."""
    try:
        loaded, off = dagster.is_loaded(), dagster.switched_off()
    except StackError as error:
        yield problem("code", str(error), "mend the code, then Reload in the UI")
        return
    except (OSError, ValueError) as error:
        yield problem("code", f"the webserver does not say ({error})", "`make down`, `make up`")
        return
    if not loaded:
        yield warning("code", "the asset graph is still loading", "ask again in a minute")
    else:
        yield ok("code", "the asset graph loads")
    for name in off:
        yield warning("code", f"{name} is switched off", "switch it on in the UI, page Automation")
