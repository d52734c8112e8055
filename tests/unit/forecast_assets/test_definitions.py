"""The graph as its users see it: a change here is a change of what they rely on."""

import dagster as dg
import pytest

from forecast_assets.definitions import defs as build
from forecasting.features.daily import FEATURE_COLUMNS
from tests.support.imports import loaded_by

GRAPH = {
    "raw_sales": ("sales", [], 2),
    "cleaned_sales": ("sales", ["raw_sales"], 2),
    "features": ("sales", ["cleaned_sales"], 2),
    "pooled_model": ("models", ["features"], 1),
    "store_models": ("models", ["features", "pooled_model"], 2),
    "forecasts": ("forecasts", ["features", "store_models"], 2),
    "forecast_accuracy": ("forecasts", ["cleaned_sales", "forecasts"], 2),
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


def test_people_can_read_what_each_asset_is(defs: dg.Definitions) -> None:
    for spec in defs.resolve_all_asset_specs():
        assert spec.owners, spec.key
        assert spec.kinds, spec.key
        assert spec.description, spec.key
        assert len(spec.description) > 80, spec.key


def test_every_asset_names_its_table_and_columns(defs: dg.Definitions) -> None:
    for spec in defs.resolve_all_asset_specs():
        assert spec.metadata["dagster/column_schema"].columns, spec.key
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
        "tell_of_stale_forecasts",
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
        "cleaned_sales:schema",
        "features:schema",
        "store_models:schema",
        "forecasts:schema",
        "forecasts:no_future_data",
        "forecasts:fresh",
        "forecasts:day_complete",
        "forecast_accuracy:coverage_and_bias",
    }


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
