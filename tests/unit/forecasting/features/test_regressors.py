"""Tests of the linear models' design matrix, on days whose regressors are worked out by hand."""

from __future__ import annotations

import pandas as pd

from forecasting.features.regressors import DESIGN_COLUMNS, design_matrix


def test_no_rows_give_no_rows(features: pd.DataFrame) -> None:
    assert design_matrix(features.head(0)).shape == (0, len(DESIGN_COLUMNS))


def test_christmas_regressors_follow_the_calendar(features: pd.DataFrame) -> None:
    x = pd.DataFrame(design_matrix(features), columns=list(DESIGN_COLUMNS))
    x["date"] = features["date"]
    one = x[features["store"] == 1].set_index("date")
    assert one.loc["2014-12-24", "before_christmas_1_1"] == 1
    assert one.loc["2014-12-27", "after_christmas_2_2"] == 1
    assert one.loc["2015-01-02", "after_christmas_8_8"] == 1
    assert one["after_christmas_8_8"].sum() == 1
