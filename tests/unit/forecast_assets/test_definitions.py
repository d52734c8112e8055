"""The graph as its users see it: a change here is a change of what they rely on."""

import dagster as dg
import pytest

from forecast_assets.definitions import defs as build
from forecasting.features.daily import FEATURE_COLUMNS
from tests.support.imports import loaded_by

GRAPH = {
    "raw_sales": ("sales", ["sales_topic"], 2),
    "cleaned_sales": ("sales", ["raw_sales"], 2),
    "features": ("sales", ["cleaned_sales", "planned_days", "stores"], 2),
    "pooled_model": ("models", ["features"], 1),
    "store_models": ("models", ["features", "pooled_model"], 2),
    "forecasts": ("forecasts", ["features", "store_models"], 2),
    "forecast_accuracy": ("forecasts", ["cleaned_sales", "forecasts"], 2),
}

#: What the graph reads and does not make, and what that is made from.
SOURCES = {
    "sales_topic": [],
    "quarantined_events": ["sales_topic"],
    "stores": [],
    "planned_days": ["sales_topic", "stores"],
}


@pytest.fixture(scope="module")
def defs() -> dg.Definitions:
    return build()


def test_groups_dependencies_and_dimensions(defs: dg.Definitions) -> None:
    graph = defs.resolve_asset_graph()
    found = {}
    for key in graph.materializable_asset_keys:
        node = graph.get(key)
        partitions = node.partitions_def
        dimensions = (
            len(partitions.partitions_defs)
            if isinstance(partitions, dg.MultiPartitionsDefinition)
            else 1
        )
        found[key.to_user_string()] = (
            node.group_name,
            sorted(parent.to_user_string() for parent in node.parent_keys),
            dimensions,
        )
    assert found == GRAPH


def test_the_lineage_starts_where_the_data_starts(defs: dg.Definitions) -> None:
    graph = defs.resolve_asset_graph()
    found = {
        key.to_user_string(): sorted(
            parent.to_user_string() for parent in graph.get(key).parent_keys
        )
        for key in graph.external_asset_keys
    }
    assert found == SOURCES


def test_people_can_read_what_each_asset_is(defs: dg.Definitions) -> None:
    for spec in defs.resolve_all_asset_specs():
        assert spec.owners, spec.key
        assert spec.kinds, spec.key
        assert spec.description, spec.key
        assert len(spec.description) > 80, spec.key


def test_every_asset_names_its_table_and_columns(defs: dg.Definitions) -> None:
    for spec in defs.resolve_all_asset_specs():
        assert spec.metadata["dagster/column_schema"].columns, spec.key
        if spec.key.to_user_string() != "sales_topic":
            assert spec.metadata["dagster/table_name"].startswith("sales."), spec.key


def test_jobs_sensors_schedules_and_checks(defs: dg.Definitions) -> None:
    repository = defs.get_repository_def()
    names = {job.name for job in repository.get_all_jobs()} - {"__ASSET_JOB"}
    assert names == {"refresh", "train", "freshness", "clean_up"}
    assert {sensor.name for sensor in repository.sensor_defs} == {
        "refresh_when_changed",
        "train_when_untrained",
        "train_challenger",
        "train_when_slipped",
        "look_when_stale",
        "tell_of_failures",
        "tell_of_problems",
    }
    assert {schedule.name for schedule in repository.schedule_defs} == {
        "train_monthly",
        "clean_up_nightly",
    }
    checks = {
        f"{key.asset_key.to_user_string()}:{key.name}"
        for key in defs.resolve_asset_graph().asset_check_keys
    }
    assert checks == {
        "raw_sales:ledger_balances",
        "raw_sales:corrections_count",
        "cleaned_sales:schema",
        "features:schema",
        "store_models:schema",
        "forecasts:schema",
        "forecasts:no_future_data",
        "forecasts:fresh",
        "raw_sales:sales_arrive",
        "raw_sales:stream_runs",
        "raw_sales:few_quarantined",
        "cleaned_sales:usual_size",
        "forecasts:day_complete",
        "forecast_accuracy:coverage_and_bias",
        "forecast_accuracy:totals_coverage",
    }


def test_every_schedule_and_sensor_is_on_in_a_fresh_instance(defs: dg.Definitions) -> None:
    repository = defs.get_repository_def()
    stopped = [
        sensor.name
        for sensor in repository.sensor_defs
        if sensor.default_status != dg.DefaultSensorStatus.RUNNING
    ] + [
        schedule.name
        for schedule in repository.schedule_defs
        if schedule.default_status != dg.DefaultScheduleStatus.RUNNING
    ]
    assert stopped == []


HEAVY = ("pandas", "mlflow", "pyspark", "sktime", "lightgbm", "pandera", "matplotlib")


def test_loading_the_definitions_imports_nothing_heavy() -> None:
    """Every run is a fresh process and pays for these imports."""
    code = "from forecast_assets.definitions import defs; defs()"
    assert loaded_by(code, *HEAVY) == []


def test_a_refresh_imports_neither_spark_nor_what_only_training_needs() -> None:
    code = "import forecasting.prediction, forecasting.schemas.frames"
    assert loaded_by(code, "pyspark", "lightgbm", "scipy.stats", "mlflow") == []


def test_the_features_have_columns_that_postgresql_knows() -> None:
    assert set(FEATURE_COLUMNS.values()) <= {"int2", "int4", "float4", "bool"}
