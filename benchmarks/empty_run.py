"""A code location with one empty job, which shows what a run costs before it computes anything.

Its sensor requests one run after the other. Only `benchmarks.freshness` uses this module. It starts
a daemon on the module and measures the runs.
"""

import dagster as dg
from dagster._core.storage.dagster_run import NOT_FINISHED_STATUSES

JOB = "empty"


@dg.op
def do_nothing() -> None:
    """Do nothing."""


# The project's assets run in their run's process as well.
@dg.job(name=JOB, executor_def=dg.in_process_executor)
def empty() -> None:
    """Run one step that does nothing."""
    do_nothing()


@dg.sensor(job=empty, minimum_interval_seconds=1, default_status=dg.DefaultSensorStatus.RUNNING)
def one_after_another(context: dg.SensorEvaluationContext) -> dg.RunRequest | dg.SkipReason:
    """Request a run when the previous run has ended."""
    instance = context.instance
    unfinished = dg.RunsFilter(job_name=JOB, statuses=NOT_FINISHED_STATUSES)
    if instance.get_runs_count(unfinished):
        return dg.SkipReason("a run has not ended yet")
    return dg.RunRequest(run_key=f"run-{instance.get_runs_count(dg.RunsFilter(job_name=JOB))}")


defs = dg.Definitions(jobs=[empty], sensors=[one_after_another])
