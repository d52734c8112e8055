"""What a store's page is made of: days, sentences, reasons, and the charts' library."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from forecast_service.page import charts, sentences
from forecast_service.page.explanation import OTHER, group_of, steps
from forecast_service.page.store_days import future_days, past_days
from forecast_service.settings import Settings
from forecasting.features.regressors import DESIGN_COLUMNS
from local_stack import jars, paths

DAY = date(2015, 6, 19)
NUMBERS = {"point": 100.0, "mean": 101.0, "q0_025": 70.0, "q0_1": 80.0, "q0_9": 120.0,
           "q0_975": 130.0}  # fmt: skip


def forecast(day: date, **changes: Any) -> dict[str, Any]:
    return {"date": day, "open": 1, "plan_assumed": False, **NUMBERS} | changes


def test_a_future_day_has_its_forecast_plan_adjustment_and_comments() -> None:
    plan = [{"date": DAY, "promo": 1, "school_holiday": 0, "state_holiday": "a"}]
    adjusted = [{"date": DAY, "adjusted": 110.0, "reason": "event", "author": "anna"}]
    comments = [{"date": DAY, "author": "bob", "text": "works"}]
    first, second = future_days(
        [forecast(DAY), forecast(DAY + timedelta(1), open=0, plan_assumed=True)],
        plan, adjusted, comments,
    )  # fmt: skip
    assert (first.promo, first.holiday, first.comments) == (1, "public holiday", comments)
    assert first.charted()["adjusted"] == 110.0
    assert first.charted()["q0_975"] == 130.0
    assert (second.open, second.promo, second.comments) == (0, 0, [])
    assert second.plan_assumed
    assert second.is_weekend


def test_a_past_day_has_its_sales() -> None:
    row = {"date": DAY, "sales": 90, "open": 1, "promo": 0, "school_holiday": 1,
           "state_holiday": "0"}  # fmt: skip
    (day,) = past_days([row], [], [])
    assert day.charted()["sales"] == 90
    assert day.charted()["point"] is None
    (judged,) = past_days([row], [forecast(DAY)], [])
    assert judged.charted()["point"] == 100.0


def test_the_steps_lead_from_the_usual_day_to_the_forecast() -> None:
    parts = [
        {"feature": "promo", "effect": 0.5},
        {"feature": "promo_tuesday", "effect": -0.1},
        {"feature": "school", "effect": 0.02},
        {"feature": "intercept", "effect": 0.01},
    ]
    plan = {"promo": 1, "school_holiday": 1, "state_holiday": "0"}
    made = steps(1000.0, parts, 1400.0, plan)
    assert [step.name for step in made] == ["Promotion", "School holidays", OTHER]
    assert made[0].sales == pytest.approx(350.0)
    assert 1000.0 + sum(step.sales for step in made) == pytest.approx(1400.0)
    product = 1000.0
    for step in made:
        product *= 1 + step.share
    assert product == pytest.approx(1400.0)


def test_what_a_day_has_not_is_said_so() -> None:
    features = ("promo", "school", "state_holiday", "after_school", "before_holiday_1")
    parts = [{"feature": name, "effect": -0.1 - k / 100} for k, name in enumerate(features)]
    plain = {"promo": 0, "school_holiday": 0, "state_holiday": "0"}
    around = ["Days around public holidays", "Days around school holidays"]
    assert [step.name for step in steps(1000.0, parts, 500.0, plain)] == [
        *around, "No public holiday", "No school holidays", "No promotion", OTHER,
    ]  # fmt: skip
    full = {"promo": 1, "school_holiday": 1, "state_holiday": "a"}
    for plan in (full, None):
        assert [step.name for step in steps(1000.0, parts, 500.0, plan)] == [
            *around, "Public holiday", "School holidays", "Promotion", OTHER,
        ]  # fmt: skip


def test_every_regressor_has_a_name_that_planners_know() -> None:
    unnamed = {name for name in DESIGN_COLUMNS if group_of(name) == OTHER}
    assert unnamed == {"intercept"}


#: Six forecasts of three days; of the report's 28 days, the others had no sales or no forecast.
JUDGED = {"days": 3, "forecasts": 6, "first_day": DAY - timedelta(2), "last_day": DAY}


def accuracy_report(**week: Any) -> dict[str, Any]:
    return {
        "kind": "issued",
        "first_day": DAY - timedelta(27),
        "last_day": DAY,
        "items": [
            {"lead_week": 1, "wape": 0.082, "naive_wape": 0.121, "coverage_80": 5 / 6,
             "forecasts": 32.0, "judged": JUDGED} | week
        ],
    }  # fmt: skip


def test_how_good_forecasts_were_is_one_sentence() -> None:
    assert sentences.accuracy(accuracy_report()) == (
        "On 3 days with sales from Wed 17 Jun to Fri 19 Jun, forecasts made 1 to 7 days ahead were "
        "off by 8.2 % of sales on average, against 12.1 % by repeating the same weekday of two "
        "weeks earlier; sales fell inside the 80 % range of 5 of 6 forecasts."
    )
    one = {"days": 1, "forecasts": 1, "first_day": DAY, "last_day": DAY}
    said = sentences.accuracy(accuracy_report(judged=one, coverage_80=1.0))
    assert said.startswith("On Fri 19 Jun, forecasts made 1 to 7 days ahead")
    assert said.endswith("sales fell inside the 80 % range of 1 of 1 forecast.")
    assert "No forecast" in sentences.accuracy(accuracy_report(judged=None))
    earlier = JUDGED | {"first_day": date(2014, 12, 30)}
    assert "from Tue 30 Dec 2014 to Fri 19 Jun," in sentences.accuracy(
        accuracy_report(judged=earlier)
    )
    assert "against" not in sentences.accuracy(accuracy_report(naive_wape=None))
    assert "No forecast" in sentences.accuracy(accuracy_report(wape=None))
    assert "No forecast" in sentences.accuracy(accuracy_report() | {"items": []})


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            {"after": 1100.0, "change": 100.0, "plan": 120.0, "sales": -20.0, "model": 0.0},
            "The daily forecasts of the next 2 days add up to 100 more (10.0 %) than in the "
            "forecast of Fri 19 Jun. "
            "Causes: a changed plan +120 and newer sales −20.",
        ),
        (
            {"after": 1000.1, "change": 0.1, "plan": 0.1, "sales": 0.0, "model": 0.0},
            "Nothing has changed in the next 2 days since the forecast of Fri 19 Jun.",
        ),
        (
            {"after": 900.0, "change": -100.0, "plan": None, "sales": None, "model": None},
            "The daily forecasts of the next 2 days add up to 100 less (10.0 %) than in the "
            "forecast of Fri 19 Jun. "
            "The causes are not known: the earlier model cannot be read any more.",
        ),
    ],
)
def test_what_changed_is_said(change: dict[str, Any], said: str) -> None:
    whole = {"before": 1000.0, "origin": DAY, "earlier_origin": DAY, "days": [{}, {}]} | change
    assert sentences.changed(whole) == said


def test_the_pinned_jar_is_the_one_that_is_fetched_and_served() -> None:
    ((_, module, version),) = jars.JAR_SETS["page"]
    name = f"{module}-{version}.jar"
    assert Settings.model_fields["charts_jar"].default.name == name == paths.CHARTS_JAR.name
    assert version in charts.FILES["uplot.js"][0]


def test_the_charts_library_comes_from_the_jar(client: TestClient) -> None:
    script = client.get("/static/charts/uplot.js")
    assert script.status_code == 200
    assert script.headers["content-type"].startswith("text/javascript")
    assert "uPlot" in script.text
    assert client.get("/static/charts/uplot.css").status_code == 200
    assert client.get("/static/charts/other.js").status_code == 404


def test_a_missing_or_foreign_jar_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(charts.ChartsError, match="run `make setup`, or set SERVICE_CHARTS_JAR"):
        charts.read(tmp_path / "uplot-1.6.30.jar", "x")
    other = tmp_path / "other.jar"
    other.write_bytes(b"PK")
    with pytest.raises(charts.ChartsError, match="as published"):
        charts.read(other, "x")
