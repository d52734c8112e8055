"""The refresh with an executor that it does not support, which starts a process per step."""

from pathlib import Path

import dagster as dg

import forecast_assets


def refresh_in_processes() -> dg.JobDefinition:
    """Return the refresh job; each step's process loads this function from the module."""
    folder = Path(forecast_assets.__file__).parent
    loaded = dg.load_from_defs_folder(path_within_project=folder)
    executor = dg.Definitions(executor=dg.multiprocess_executor)
    return dg.Definitions.merge(loaded, executor).resolve_job_def("refresh")
