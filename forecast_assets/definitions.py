"""The one `Definitions` object: everything that lies under `defs/`."""

from pathlib import Path

import dagster as dg

from forecast_assets.settings import apply_dagster_batching

apply_dagster_batching()


@dg.definitions
def defs() -> dg.Definitions:
    """Loads assets, checks, jobs, schedules, sensors and resources.

    Steps run in their run's process: a process for each step would import everything again.
    """
    return dg.Definitions.merge(
        dg.load_from_defs_folder(path_within_project=Path(__file__).parent),
        dg.Definitions(executor=dg.in_process_executor),
    )
