"""What the assets of a run share lives exactly as long as the run, in one process."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from types import SimpleNamespace
from typing import Any

import dagster as dg
import pytest

from forecast_assets.defs import run_state as module
from forecast_assets.defs.asset_options import ROWLESS
from forecast_assets.defs.reporting import output_without_partitions, report
from forecast_assets.defs.resources import OnlyDaysResource
from forecast_assets.defs.run_state import RunStateResource
from forecast_assets.defs.scope import REFRESH_TAG
from forecast_assets.planning.calendar import Calendar
from forecast_assets.planning.scope import Scope
from tests.support.partitions import COMPUTED, PARTITIONS, RANGE
from warehouse import changes

RESOURCES = {"run_state": RunStateResource()}


@dg.asset(partitions_def=PARTITIONS, **ROWLESS)
def early(
    context: dg.AssetExecutionContext, run_state: RunStateResource
) -> Iterator[dg.Output[None]]:
    run_state.postpone(context, {key: {} for key in COMPUTED})
    yield output_without_partitions()


@dg.asset(partitions_def=PARTITIONS, deps=[early], **ROWLESS)
def late(
    context: dg.AssetExecutionContext, run_state: RunStateResource
) -> Iterator[dg.Output[None]]:
    if "fails" in context.run.tags:
        raise RuntimeError
    assert not context.instance.get_materialized_partitions(early.key)
    run_state.report_postponed(context.log)
    report(context, {COMPUTED[0]: {}})
    yield output_without_partitions()


def test_a_postponed_report_comes_before_those_of_what_lies_downstream(
    instance: dg.DagsterInstance,
) -> None:
    result = dg.materialize([early, late], instance=instance, tags=RANGE, resources=RESOURCES)
    assert result.success
    assert instance.get_materialized_partitions(early.key) == set(COMPUTED)
    reported = instance.all_logs(result.run_id, dg.DagsterEventType.ASSET_MATERIALIZATION)
    steps = [entry.get_dagster_event().step_key for entry in reported]
    assert steps == [early.key.to_user_string()] * len(COMPUTED) + [late.key.to_user_string()]


def test_what_a_failed_run_has_postponed_is_not_reported_by_the_next(
    instance: dg.DagsterInstance,
) -> None:
    failing = RANGE | {"fails": "yes"}
    failed = dg.materialize(
        [early, late], instance=instance, tags=failing, raise_on_error=False, resources=RESOURCES
    )
    assert not failed.success
    assert dg.materialize([early, late], instance=instance, tags=RANGE, resources=RESOURCES).success
    assert not instance.all_logs(failed.run_id, dg.DagsterEventType.ASSET_MATERIALIZATION)
    records = instance.fetch_materializations(early.key, limit=10).records
    assert len(records) == len(COMPUTED)


class Ledger:
    """A change ledger of one refresh."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.claims: list[str] = []
        self.failed: dict[int, str] = {}
        self.commit_fails = False
        monkeypatch.setattr(changes, "has_begun", lambda _, run_id: run_id in self.claims)
        monkeypatch.setattr(changes, "failed", lambda _, run_id: self.failed)
        monkeypatch.setattr(module, "claim_scope", self.claim)
        monkeypatch.setattr(module, "agree_on_calendar", lambda _: None)

    def claim(self, _: object, refresh_id: str) -> Scope:
        self.claims.append(refresh_id)
        cells = {date(2015, 6, 1): [3, 40]}
        return Scope(refresh_id, cells, cells, cells, Calendar("monthly"))

    def resource(self) -> dg.ConfigurableResource:
        ledger = self

        class FakeWarehouse(dg.ConfigurableResource):
            @contextmanager
            def transaction(self) -> Iterator[None]:
                claims = list(ledger.claims)
                yield None
                if ledger.commit_fails:
                    ledger.claims = claims
                    raise ConnectionError("the commit failed")

        return FakeWarehouse()


@pytest.fixture
def ledger(monkeypatch: pytest.MonkeyPatch) -> Ledger:
    return Ledger(monkeypatch)


RUN_ID = "6f1c"


def context_of(asset: str) -> Any:
    run = SimpleNamespace(run_id=RUN_ID, tags={REFRESH_TAG: "true"})
    return SimpleNamespace(run=run, asset_key=dg.AssetKey(asset))


@pytest.fixture
def context() -> Any:
    """The context of a refresh's asset: its run is all that a scope depends on."""
    return context_of("raw_sales")


def test_one_refresh_claims_once_and_leaves_out_stores_that_failed_since(
    context: Any, ledger: Ledger
) -> None:
    state, warehouse = RunStateResource(), ledger.resource()
    first = state.scope(context, warehouse, OnlyDaysResource())
    ledger.failed = {40: "features: no sense"}
    second = state.scope(context, warehouse, OnlyDaysResource())
    assert ledger.claims == [RUN_ID]
    assert first.data == {date(2015, 6, 1): [3, 40]}
    assert second.data == {date(2015, 6, 1): [3]}


def test_a_step_in_another_process_is_refused_and_told_what_to_do(
    context: Any, ledger: Ledger
) -> None:
    warehouse = ledger.resource()
    RunStateResource().scope(context, warehouse, OnlyDaysResource())
    with pytest.raises(dg.Failure, match=r"another process.*dg\.in_process_executor") as refused:
        RunStateResource().scope(context, warehouse, OnlyDaysResource())
    assert refused.value.allow_retries is False
    assert ledger.claims == [RUN_ID]


def test_a_claim_that_was_not_committed_is_not_held(context: Any, ledger: Ledger) -> None:
    state, warehouse = RunStateResource(), ledger.resource()
    ledger.commit_fails = True
    with pytest.raises(ConnectionError):
        state.scope(context, warehouse, OnlyDaysResource())
    ledger.commit_fails = False
    state.scope(context, warehouse, OnlyDaysResource())
    assert ledger.claims == [RUN_ID]


@pytest.mark.parametrize("asset", ["cleaned_sales", "features", "store_models", "forecasts"])
def test_a_run_that_begins_in_the_middle_claims_nothing(asset: str, ledger: Ledger) -> None:
    """Someone re-executes a refresh from the failure, or starts a run with its tags."""
    with pytest.raises(dg.Failure, match=r"does not compute raw_sales.*the sensor refreshes"):
        RunStateResource().scope(context_of(asset), ledger.resource(), OnlyDaysResource())
    assert ledger.claims == []


def test_changes_are_closed_only_by_a_run_that_computed_everything() -> None:
    state = RunStateResource()
    for asset in ("raw_sales", "cleaned_sales", "store_models"):
        state.note_computed(asset)
    with pytest.raises(dg.Failure, match="does not compute features"):
        state.require_all_computed()
    state.note_computed("features")
    state.require_all_computed()
