"""The one `Definitions` object: everything under `defs/`."""

from pathlib import Path

import dagster as dg

from forecast_assets.settings import apply_dagster_batching
from forecasting.threads import limit_blas_threads
from warehouse.environment import reach_loopback_directly

apply_dagster_batching()
# `dagster dev`, `dg launch` and `dagster asset materialize` compute in processes that Dagster
# starts, so the limit is set here, where each of them loads the definitions.
limit_blas_threads()
# MLflow is reached from the same processes.
reach_loopback_directly()


@dg.definitions
def defs() -> dg.Definitions:
    """Load assets, checks, jobs, schedules, sensors and resources.

    All steps of a run share its process. A process per step would import everything again, and a
    refresh keeps its claimed changes in memory (see `defs/run_state.py`).
    """
    return dg.Definitions.merge(
        dg.load_from_defs_folder(path_within_project=Path(__file__).parent),
        dg.Definitions(executor=dg.in_process_executor),
    )
