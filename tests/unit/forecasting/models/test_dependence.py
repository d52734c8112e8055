"""Tests of learned error correlations against simulated errors of known correlations."""

from __future__ import annotations

import numpy as np
import pytest

from forecasting.models.dependence import Dependence, ErrorPart, learn_dependence

HORIZON = 42


def simulate(chain: ErrorPart, store: ErrorPart, origins: int, stores: int) -> Dependence:
    generator = np.random.default_rng(0)
    common = np.linalg.cholesky(chain.covariance(HORIZON) + 1e-12 * np.eye(HORIZON))
    own = np.linalg.cholesky(store.covariance(HORIZON))
    scores, ids, leads = [], [], []
    for _ in range(origins):
        shared = common @ generator.standard_normal(HORIZON)
        score = shared + generator.standard_normal((stores, HORIZON)) @ own.T
        scores.append(score.ravel())
        ids.append(np.repeat(np.arange(stores), HORIZON))
        leads.append(np.tile(np.arange(1, HORIZON + 1), stores))
    return learn_dependence(scores, ids, leads, HORIZON)


def test_known_correlations_are_found() -> None:
    chain, store = ErrorPart(0.05, 0.1, 0.7, 0.05), ErrorPart(0.2, 0.15, 0.8, 0.45)
    out = simulate(chain, store, origins=60, stores=60)
    lag = out.store.covariance(HORIZON)[0]
    np.testing.assert_allclose(lag, store.covariance(HORIZON)[0], atol=0.05)
    np.testing.assert_allclose(
        out.chain.covariance(HORIZON)[0], chain.covariance(HORIZON)[0], atol=0.05
    )


@pytest.mark.parametrize("horizon", [1, 7, 42, 91])
def test_correlations_of_any_horizon_have_variance_one(horizon: int) -> None:
    chain, store = Dependence.default().correlations(horizon)
    np.testing.assert_allclose(np.diag(chain + store), 1.0)
    np.linalg.cholesky(chain)
    np.linalg.cholesky(store)


def test_few_stores_tell_nothing_about_the_chain() -> None:
    out = simulate(ErrorPart(0, 0, 0.5, 0), ErrorPart(0, 0, 0.5, 1.0), origins=6, stores=3)
    assert out == Dependence.default()


def test_no_forecasts_give_the_default() -> None:
    assert learn_dependence([], [], [], HORIZON) == Dependence.default()
    assert Dependence.from_dict(Dependence.default().to_dict()) == Dependence.default()
