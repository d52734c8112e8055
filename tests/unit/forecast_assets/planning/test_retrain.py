import math
from dataclasses import replace
from datetime import date

import pytest

from forecast_assets.planning.refresh import Wait
from forecast_assets.planning.retrain import Record, Retrain, decide
from forecasting.evaluation.accuracy import MIN_DAYS

FACTOR = 1.3
SLIPPED = Record(
    version="2015-06-12-abc",
    calibrated_wape=0.08,
    days=MIN_DAYS,
    wape=0.12,
    newest_day=date(2015, 6, 19),
)


def test_a_model_that_slipped_is_trained_again_once_a_day() -> None:
    first = decide(SLIPPED, FACTOR)
    assert isinstance(first, Retrain)
    assert "WAPE 0.1200 over 7 days, 0.0800 when calibrated" in first.reason
    assert decide(SLIPPED, FACTOR) == first, "the same day gives the same key: one run"
    later = decide(replace(SLIPPED, newest_day=date(2015, 6, 20)), FACTOR)
    other = decide(replace(SLIPPED, version="2015-06-19-def"), FACTOR)
    assert isinstance(later, Retrain) and isinstance(other, Retrain)
    assert len({first.run_key, later.run_key, other.run_key}) == 3


@pytest.mark.parametrize(
    "change",
    [
        {"wape": 0.08 * FACTOR},
        {"wape": math.nan},
        {"days": MIN_DAYS - 1},
        {"calibrated_wape": None},
    ],
)
def test_a_model_that_holds_or_is_too_new_is_left_alone(change: dict[str, float | None]) -> None:
    assert isinstance(decide(replace(SLIPPED, **change), FACTOR), Wait)
