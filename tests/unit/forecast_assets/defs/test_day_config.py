"""Days in a run's config are judged before a run exists."""

import dagster as dg
import pytest

from forecast_assets.definitions import defs
from forecast_assets.planning.partition_cells import ALL_DAYS


def resolved(days: dict[str, object] | None) -> dg.DagsterRun:
    """Plan a run with these days, as every way of launching one does, and create it."""
    job = defs().get_repository_def().get_job("refresh")
    with dg.DagsterInstance.ephemeral() as instance:
        try:
            return instance.create_run_for_job(
                job, run_config={"resources": {"only_days": {"config": days}}} if days else {}
            )
        except dg.DagsterInvalidConfigError:
            assert instance.get_runs_count() == 0
            raise


@pytest.mark.parametrize(
    ("days", "message"),
    [
        ({"last_day": "2015-13-20"}, "'2015-13-20' is not a day"),
        ({"first_day": "2015-04-31"}, "Write it as 2015-05-10"),
        ({"first_day": ""}, "'' is not a day"),
        ({"first_day": 20150401}, "20150401"),
        ({"first_day": "2015-04-20", "last_day": "2015-04-10"}, "is before the first day"),
        ({"lastday": "2015-04-20"}, "lastday"),
    ],
)
def test_days_that_make_no_sense_are_refused_before_a_run_exists(
    days: dict[str, object], message: str
) -> None:
    with pytest.raises(dg.DagsterInvalidConfigError, match=message):
        resolved(days)


@pytest.mark.parametrize(
    "days",
    [None, {"last_day": "2015-05-20"}, {"first_day": "2015-05-01", "last_day": "2015-05-01"}],
)
def test_days_that_make_sense_are_accepted(days: dict[str, object] | None) -> None:
    assert resolved(days).job_name == "refresh"


def test_no_days_means_all_of_them() -> None:
    from forecast_assets.defs.resources import only_days

    assert only_days(dg.build_init_resource_context(config={})).span() == ALL_DAYS
