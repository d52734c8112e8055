"""Trainings: when sensors request one, how recipes are compared, which model serves."""

from __future__ import annotations

import json
from datetime import date

import dagster as dg
import pandas as pd
import pytest

from forecast_assets.defs.resources import WarehouseResource
from forecast_assets.defs.sensors import (
    train_challenger,
    train_when_slipped,
    train_when_untrained,
)
from forecast_assets.instance.run_launcher import NICENESS_TAG
from forecast_assets.settings import settings
from forecast_assets.steps.trained import COMPARED_ORIGINS
from forecasting.models import model_format, pooled, training
from tests.support.chain import END, ISSUED, STORES, Chain
from warehouse import forecaster, models
from warehouse.connection import Warehouse


def test_champion_and_challenger_are_named_in_mlflow(
    chain: Chain, mlflow_uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow import MlflowClient

    client = MlflowClient(mlflow_uri)

    def named(alias: str) -> str:
        return str(client.get_model_version_by_alias("sales-forecast", alias).version)

    def trained() -> dict[str, object]:
        rows = chain.frame("SELECT * FROM sales.pooled_models ORDER BY created_at DESC LIMIT 1")
        (row,) = rows.drop(columns="model").to_dict("records")
        return row

    chain.load(date(2015, 6, 12))
    chain.refresh()
    monkeypatch.setenv("FORECAST_CHALLENGER", "stack")
    monkeypatch.setenv("DAGSTER_WEBSERVER_URL", "http://dagster:3000/")
    settings.cache_clear()
    chain.train("2015-06-01")
    champion = trained()
    assert named("champion") == champion["mlflow_version"]
    # With less than a year and a half of history both are the same: the one in force stays.
    assert champion["recipe"] == "ridge"
    challenger = client.get_model_version(name="sales-forecast", version=named("challenger"))
    assert challenger.tags["recipe"] == "stack"
    assert challenger.tags["trained_until"] == "2015-05-01", "the newest origin compared on"
    run = client.get_run(str(champion["mlflow_run_id"]))
    assert run.data.params["recipe"] == "ridge"
    assert run.data.metrics["comparison/2015-05-01/stack/rmspe"] > 0
    # What its pages say, for somebody who meets them first.
    assert run.info.run_name == "ridge until 2015-06-12"
    note = run.data.tags["mlflow.note.content"]
    (dagster_run,) = chain.instance.get_runs(filters=dg.RunsFilter(job_name="train"))
    assert f"[{dagster_run.run_id}](http://dagster:3000/runs/{dagster_run.run_id})" in note
    assert f"| RMSPE | {run.data.metrics['rmspe']:.4f} |" in note
    assert "Compared on past origins: ridge (RMSPE" in note
    (used,) = run.inputs.dataset_inputs
    assert used.dataset.name == "features until 2015-06-12"
    assert json.loads(used.dataset.profile)["stores"] == STORES
    assert "log_sales" in used.dataset.schema
    assert (
        "Trainings of the pooled model"
        in client.get_experiment(run.info.experiment_id).tags["mlflow.note.content"]
    )
    model = client.get_registered_model("sales-forecast")
    assert "`@champion` serves" in model.description
    version = client.get_model_version("sales-forecast", str(champion["mlflow_version"]))
    assert version.description.startswith("ridge, trained until 2015-06-12 on ")
    assert "it lost the comparison" in challenger.description
    assert (
        len(client.get_metric_history(run.info.run_id, "origin_rmspe"))
        == training.CALIBRATION_ORIGINS
    )
    pictures = {file.path for file in client.list_artifacts(run.info.run_id, "plots")}
    assert pictures == {"plots/importance.svg", "plots/accuracy_by_origin.svg"}

    monkeypatch.delenv("FORECAST_CHALLENGER")
    settings.cache_clear()
    chain.train("2015-03-01")
    assert trained()["trained_until"] == pd.Timestamp(2015, 3, 31)
    assert named("champion") == champion["mlflow_version"], "an older period's is no champion"


def test_the_second_recipe_is_compared_behind_the_first_training(
    chain: Chain, monkeypatch: pytest.MonkeyPatch
) -> None:
    def request(sensor: dg.SensorDefinition) -> dg.RunRequest | str:
        with dg.build_sensor_context(
            instance=chain.instance, resources={"warehouse": WarehouseResource()}
        ) as context:
            answer = sensor(context)
        assert isinstance(answer, dg.RunRequest | dg.SkipReason)
        return answer if isinstance(answer, dg.RunRequest) else str(answer.skip_message)

    def train(request: dg.RunRequest) -> dict[str, float]:
        job = chain.repository.get_job("train")
        run = job.execute_in_process(
            instance=chain.instance, partition_key=request.partition_key, tags=request.tags
        )
        assert run.success
        with chain.warehouse.transaction() as transaction:
            champion = models.champion(transaction)
        assert champion is not None
        return champion.metrics

    monkeypatch.setenv("FORECAST_CHALLENGER", "stack")
    settings.cache_clear()
    chain.load(date(2015, 6, 12))
    assert request(train_challenger) == "there is no champion to challenge yet"
    chain.refresh()
    first = request(train_when_untrained)
    assert isinstance(first, dg.RunRequest)
    assert COMPARED_ORIGINS not in train(first), "forecasts do not wait for a comparison"
    assert "waiting for a refresh" in str(request(train_challenger))
    chain.refresh()

    second = request(train_challenger)
    assert isinstance(second, dg.RunRequest)
    assert second.tags[NICENESS_TAG] == "19"
    assert second.partition_key == "2015-06-01"
    assert train(second)[COMPARED_ORIGINS] == 2
    chain.refresh()
    assert "was chosen by a comparison" in str(request(train_challenger))
    monkeypatch.setenv("FORECAST_CHALLENGER", "none")
    settings.cache_clear()
    assert request(train_challenger) == "the settings name no challenger"


def test_a_champion_that_slipped_is_trained_again_once(
    forecast_chain: Chain, forecast_database: dict[str, str]
) -> None:
    chain, cursor = forecast_chain, None

    def look(cursor: str | None) -> dg.SensorResult:
        with dg.build_sensor_context(
            instance=chain.instance, cursor=cursor, resources={"warehouse": WarehouseResource()}
        ) as context:
            answer = train_when_slipped(context)
        assert isinstance(answer, dg.SensorResult)
        return answer

    assert "no day has been scored" in str(look(cursor).skip_reason)
    chain.load(END)
    chain.refresh()
    held = look(cursor)
    assert "is as accurate as expected: WAPE" in str(held.skip_reason)
    assert held.cursor == str(END)

    with Warehouse(forecast_database["OWNER_DATABASE_URL"]).transaction() as transaction:
        transaction.execute(
            "UPDATE sales.forecast_accuracy SET absolute_error = 5 * absolute_error"
        )
    assert "no day has been scored since" in str(look(held.cursor).skip_reason)
    slipped = look("2015-06-18")
    (request,) = slipped.run_requests or []
    assert request.partition_key == "2015-06-01"
    assert request.run_key is not None and request.run_key.startswith("slipped-2015-06-12-")
    assert slipped.cursor == str(END)

    chain.train("2015-06-01")
    again = look("2015-06-18")
    assert "were scored on 0 days" in str(again.skip_reason), "the new champion is judged afresh"


def asked_by_the_training_sensor(chain: Chain) -> dg.RunRequest | dg.SkipReason:
    with dg.build_sensor_context(
        instance=chain.instance, resources={"warehouse": WarehouseResource()}
    ) as context:
        answer = train_when_untrained(context)
    assert isinstance(answer, dg.RunRequest | dg.SkipReason)
    return answer


def test_after_an_upgrade_that_changed_the_models_training_is_asked_for(
    forecast_chain: Chain, monkeypatch: pytest.MonkeyPatch
) -> None:
    chain = forecast_chain
    assert isinstance(asked_by_the_training_sensor(chain), dg.SkipReason)
    old = chain.frame("SELECT version FROM sales.pooled_models")["version"].tolist()
    for module in (models, pooled, forecaster):
        monkeypatch.setattr(module, "MODEL_FORMAT", "a later one")
    monkeypatch.setattr(model_format, "MODEL_FORMAT", "a later one")
    with chain.warehouse.transaction() as transaction:
        assert models.count_pooled(transaction) == 0
        assert models.pooled_for(transaction, END) is None

    with pytest.raises(dg.Failure, match="materialize store_models of the same partitions"):
        chain.repository.get_job("__ASSET_JOB").get_subset(
            asset_selection={dg.AssetKey("forecasts")}
        ).execute_in_process(instance=chain.instance, partition_key="2015-06-01|1")

    request = asked_by_the_training_sensor(chain)
    assert isinstance(request, dg.RunRequest)
    assert request.partition_key == "2015-06-01"
    assert request.run_key is not None and "a later one" in request.run_key
    chain.train(request.partition_key)
    chain.refresh()
    assert isinstance(asked_by_the_training_sensor(chain), dg.SkipReason)
    issued = chain.frame(ISSUED)
    newer = issued[~issued["model_version"].isin(old)]
    assert newer.groupby("store").size().to_dict() == dict.fromkeys(range(1, STORES + 1), 42)
