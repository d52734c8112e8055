"""Tests of stored pooled models: this code reads only models of its own format."""

from __future__ import annotations

from datetime import date

import pandas as pd
import pytest

from forecasting.models import model_format, pooled
from forecasting.models.pooled import PooledModel
from forecasting.models.training import TRAINING_STORES, fit_pooled, training_stores
from tests.support.imports import loaded_by


def test_the_format_follows_the_regressors(monkeypatch: pytest.MonkeyPatch) -> None:
    assert model_format._fingerprint() == model_format.MODEL_FORMAT
    for name in ("DESIGN_COLUMNS", "STACK_INPUTS", "HALF_LIVES"):
        with monkeypatch.context() as patch:
            patch.setattr(model_format, name, getattr(model_format, name)[:-1])
            assert model_format._fingerprint() != model_format.MODEL_FORMAT, name


def test_the_format_follows_the_calibration(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, other in (("KINDS", {"special": 2}), ("QUANTILES", (0.5,))):
        with monkeypatch.context() as patch:
            patch.setattr(model_format, name, other)
            assert model_format._fingerprint() != model_format.MODEL_FORMAT, name


def test_a_model_of_another_format_is_refused(
    features: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = fit_pooled(features, origin=date(2015, 1, 16)).to_bytes()
    assert PooledModel.from_bytes(data).to_bytes() == data
    assert PooledModel.from_bytes(data) is PooledModel.from_bytes(bytes(bytearray(data)))
    pooled._read.cache_clear()
    monkeypatch.setattr(pooled, "MODEL_FORMAT", "a later one")
    with pytest.raises(ValueError, match="train it again"):
        PooledModel.from_bytes(data)


def test_a_sensor_can_ask_for_the_format_without_importing_what_trains() -> None:
    code = "import forecasting.models.model_format"
    assert loaded_by(code, "lightgbm", "sktime", "sklearn") == []


def test_a_large_chain_is_learned_from_a_sample_that_stays_the_same() -> None:
    assert training_stores([3, 1, 2]) == [1, 2, 3]
    chain = range(1, 11_151)
    sample = training_stores(chain)
    assert len(set(sample)) == len(sample) == TRAINING_STORES
    assert set(sample) <= set(chain)
    assert sample == training_stores(list(reversed(chain)))
    assert max(sample) > 10_000, "not the first stores only"
