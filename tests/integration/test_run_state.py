"""A refresh whose steps run in separate processes is refused before it does harm."""

from datetime import date
from pathlib import Path

import dagster as dg

from forecast_assets.defs.scope import REFRESH_TAG
from tests.support.chain import STORES, Chain
from tests.support.multiprocess import refresh_in_processes


def test_the_multiprocess_executor_is_refused_and_the_changes_stay_open(
    chain: Chain, tmp_path: Path
) -> None:
    chain.load(date(2015, 6, 12))
    tags = {
        "dagster/asset_partition_range_start": "2014-01-01|1",
        "dagster/asset_partition_range_end": f"2015-06-01|{STORES}",
        REFRESH_TAG: "true",
    }
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        instance.add_dynamic_partitions("store", [str(s) for s in range(1, STORES + 1)])
        job = dg.reconstructable(refresh_in_processes)
        with dg.execute_job(job, instance=instance, tags=tags) as result:
            (failure,) = result.filter_events(lambda event: event.is_step_failure)
        reported = instance.all_logs(result.run_id, dg.DagsterEventType.ASSET_MATERIALIZATION)
    assert failure.step_key == "cleaned_sales"
    assert "dg.in_process_executor" in str(failure.step_failure_data.user_failure_data)
    assert reported == [], "what raw_sales postponed is lost, so the run must not go on"
    assert chain.frame("SELECT * FROM sales.changes WHERE done_at IS NOT NULL").empty
    assert not chain.frame("SELECT * FROM sales.changes").empty
