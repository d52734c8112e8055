"""Accuracy, time and memory of forecasts against peers, on the same windows in one run.

`python -m benchmarks.forecast --data DIR` forecasts the same days with this system and its peers.
On all stores: the 14-day seasonal naive, and mlforecast with LightGBM (its documented recipe). On a
sample of stores: AutoETS, and Prophet fitted to each store's last four months, as in the earlier
system. It prints a table; the last line is one JSON object. Peers that are not installed are
skipped with a message; `make bench-forecast` installs them first.

Each forecaster gets the same days: sales up to the origin, and the plan of the days after it. For
all of them, a closed day is forecast as 0.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import logging
import os
import resource
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from forecast_assets.commands.evaluate import forecast_window
from forecast_assets.commands.files import read_days
from forecast_assets.commands.windows import Window, windows_until
from forecasting import scoring
from forecasting.models.naive import seasonal_naive

if TYPE_CHECKING:
    from forecasting.features.panel import Panel

#: Slow peers forecast a sample: every 25th store.
SAMPLE_EVERY = 25
#: Days of history for Prophet: the earlier system fitted it to the last four months.
PROPHET_DAYS = 120

#: Threads for LightGBM, in this system and in the peer. On a busy machine, fewer are faster.
THREADS = int(os.environ.get("BENCH_THREADS", "2"))

Forecast = Callable[[pd.DataFrame, Window], pd.DataFrame]


def ours(recipe: Literal["ridge", "stack"]) -> Forecast:
    """Return this system's forecaster with one of the recipes."""

    def run(days: pd.DataFrame, window: Window) -> pd.DataFrame:
        out = forecast_window(days, window, recipe=recipe, threads=THREADS)
        return out[["store", "date", "point", "q0_5"]].rename(columns={"q0_5": "median"})

    return run


def naive(days: pd.DataFrame, window: Window) -> pd.DataFrame:
    """Forecast each day as the sales of the same day one or more promo cycles earlier."""
    past = days[days["date"] <= window.origin]
    origins = pd.Series(window.origin, index=np.unique(past["store"]))
    return seasonal_naive(past, origins, window.horizon)[["store", "date", "point"]]


def mlforecast(days: pd.DataFrame, window: Window) -> pd.DataFrame:
    """Forecast with mlforecast and LightGBM, as its quick start does.

    The model gets lags, rolling means of lags, and date features. The plan is passed as dynamic
    columns, the store as a static one. Closed days stay in; missing days are filled with 0.
    """
    import lightgbm as lgb
    from mlforecast import MLForecast
    from mlforecast.lag_transforms import RollingMean

    frame = _plan(days)
    past = frame[frame["ds"] <= window.origin]
    last = window.origin + pd.Timedelta(days=window.horizon)
    future = frame[(frame["ds"] > window.origin) & (frame["ds"] <= last)]
    model = MLForecast(
        models=lgb.LGBMRegressor(
            n_estimators=500, num_threads=THREADS, verbosity=-1, random_state=0
        ),
        freq="D",
        lags=[1, 7, 14, 28],
        lag_transforms={1: [RollingMean(28)], 7: [RollingMean(28)], 14: [RollingMean(56)]},
        date_features=["dayofweek", "day", "month", "year"],
        num_threads=THREADS,
    )
    model.fit(past, static_features=["store_id"])
    grid = model.make_future_dataframe(window.horizon)
    plan = grid.merge(future.drop(columns=["y", "store_id"]), on=["unique_id", "ds"], how="left")
    out = model.predict(window.horizon, X_df=plan.fillna(0))
    return _point_of(out, "LGBMRegressor")


def autoets(days: pd.DataFrame, window: Window) -> pd.DataFrame:
    """Forecast with AutoETS (7-day season), with weekday medians in place of closed days."""
    from statsforecast import StatsForecast
    from statsforecast.models import AutoETS

    frame = _plan(days[days["date"] <= window.origin])
    frame["y"] = frame["y"].where(frame["y"] > 0)
    weekday = frame.groupby(["unique_id", frame["ds"].dt.dayofweek])["y"].transform("median")
    store = frame.groupby("unique_id")["y"].transform("median")
    frame["y"] = frame["y"].fillna(weekday).fillna(store)
    model = StatsForecast(models=[AutoETS(season_length=7)], freq="D", n_jobs=1)
    out = model.forecast(df=frame[["unique_id", "ds", "y"]], h=window.horizon)
    return _point_of(out.reset_index() if "unique_id" not in out else out, "AutoETS")


def prophet(days: pd.DataFrame, window: Window) -> pd.DataFrame:
    """Fit Prophet to each store's last four months and forecast, as the earlier system did."""
    from prophet import Prophet

    parts = []
    recent = days[
        (days["date"] <= window.origin)
        & (days["date"] > window.origin - pd.Timedelta(days=PROPHET_DAYS))
    ]
    dates = pd.date_range(window.origin + pd.Timedelta(days=1), periods=window.horizon)
    for store, rows in recent.groupby("store"):
        model = Prophet().fit(pd.DataFrame({"ds": rows["date"], "y": rows["sales"]}))
        out = model.predict(pd.DataFrame({"ds": dates}))
        parts.append(pd.DataFrame({"store": store, "date": dates, "point": out["yhat"]}))
    return pd.concat(parts, ignore_index=True)


def _plan(days: pd.DataFrame) -> pd.DataFrame:
    """Return the day panel on a daily grid, with the column names of Nixtla's libraries."""
    frame = pd.DataFrame(
        {
            "unique_id": days["store"].astype(str),
            "ds": days["date"],
            "y": days["sales"],
            "open": days["open"],
            "promo": days["promo"],
            "holiday": (days["state_holiday"].astype(str) != "0").astype(int),
            "school": days["school_holiday"],
        }
    )
    parts = [
        rows.set_index("ds").asfreq("D").assign(unique_id=name).reset_index()
        for name, rows in frame.groupby("unique_id")
    ]
    whole = pd.concat(parts, ignore_index=True)
    numbers = ["y", "open", "promo", "holiday", "school"]
    whole[numbers] = whole[numbers].fillna(0)
    whole["store_id"] = whole["unique_id"].astype(int)
    return whole


def _point_of(out: pd.DataFrame, column: str) -> pd.DataFrame:
    return pd.DataFrame(
        {"store": out["unique_id"].astype(int), "date": out["ds"], "point": out[column]}
    )


#: Name, forecaster, the package it needs, and whether it forecasts the sample of stores only.
FORECASTERS: tuple[tuple[str, Forecast, str | None, bool], ...] = (
    ("stack", ours("stack"), None, False),
    ("ridge", ours("ridge"), None, False),
    ("seasonal naive (14 days)", naive, None, False),
    ("mlforecast LightGBM", mlforecast, "mlforecast", False),
    ("AutoETS(7)", autoets, "statsforecast", True),
    ("Prophet, last 4 months", prophet, "prophet", True),
)


def _measure(name: str, days: pd.DataFrame, window: Window, pipe: Any) -> None:
    """Run one forecaster; send the forecasts, the seconds and the peak MB through the pipe."""
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    forecaster = next(run for label, run, _, _ in FORECASTERS if label == name)
    begin = time.perf_counter()
    out = forecaster(days, window)
    seconds = time.perf_counter() - begin
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    pipe.send((out, seconds, peak))


def in_a_process(
    name: str, days: pd.DataFrame, window: Window
) -> tuple[pd.DataFrame, float, float]:
    """Run one forecaster in a separate process, to measure its peak memory alone.

    Returns:
        The forecasts, the seconds that they took, and the peak memory in MB.

    Raises:
        RuntimeError: The process ended without a result.
    """
    context = get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_measure, args=(name, days, window, sender))
    process.start()
    sender.close()
    try:
        result: tuple[pd.DataFrame, float, float] = receiver.recv()
    except EOFError:
        raise RuntimeError(f"{name} ended without a forecast") from None
    finally:
        process.join()
    return result


def score(out: pd.DataFrame, days: pd.DataFrame, stores: set[int] | None) -> dict[str, float]:
    """Return the errors of forecasts on days with sales, for all stores or for some."""
    truth = days[["store", "date", "sales", "open"]]
    both = out.merge(truth, on=["store", "date"])
    both = both[both["sales"] > 0]
    if stores is not None:
        both = both[both["store"].isin(stores)]
    actual, point = both["sales"].to_numpy(), both["point"].fillna(0.0).to_numpy()
    median = both["median"].to_numpy() if "median" in both else point
    return {
        "rmspe": scoring.rmspe(actual, point),
        "mape": scoring.mape(actual, median),
        "wape": scoring.wape(actual, median),
    }


#: Variant -> prefixes of the names of the regressors that the ablation leaves out.
REGRESSOR_GROUPS = {
    "no Christmas": ("before_christmas", "after_christmas"),
    "no Easter": ("easter",),
    "no turn of the month": ("month_", "working_turn", "saturday_turn"),
    "no holidays and closures": ("before_holiday", "after_holiday", "week_closed", "closed_2"),
    "no school holidays": ("school", "before_school", "after_school"),
    "no promo beyond the day": ("promo_density", "promo_ends", "after_promo", "promo_in"),
    "no yearly season": ("year_",),
    "no trend": ("trend",),
}
#: The ablation fits every third store.
ABLATION_EVERY = 3


def ablation(days: pd.DataFrame, windows: list[Window]) -> pd.DataFrame:
    """Measure the mean WAPE of the whole linear model, and of the model without each of its parts.

    Args:
        days: Day panel.
        windows: Origins and horizons.

    Returns:
        One row per variant: variant, wape.
    """
    from forecasting.features.daily import day_features
    from forecasting.features.panel import Panel
    from forecasting.features.regressors import DESIGN_COLUMNS

    stores = np.unique(days["store"])[::ABLATION_EVERY]
    whole = Panel.of(day_features(days[days["store"].isin(stores)]))
    errors = _linear_errors(whole, windows, "whole", with_parts=True)
    for variant, prefixes in REGRESSOR_GROUPS.items():
        x = whole.x.copy()
        x[:, [name.startswith(prefixes) for name in DESIGN_COLUMNS]] = 0.0
        errors |= _linear_errors(replace(whole, x=x), windows, variant)
    rows = [{"variant": name, "wape": float(np.mean(values))} for name, values in errors.items()]
    return pd.DataFrame(rows)


def _linear_errors(
    panel: Panel, windows: list[Window], variant: str, *, with_parts: bool = False
) -> dict[str, list[float]]:
    """Fit and score the linear model on each window.

    Args:
        panel: The regressors of some stores.
        windows: Origins and horizons, oldest first.
        variant: The variant's name.
        with_parts: Whether to also score the forecasts of `_without_parts`.

    Returns:
        Variant -> WAPE of each window.
    """
    from forecasting.models.at_origin import ridge_terms
    from forecasting.models.moments import HALF_LIFE_WEIGHTS, RollingMoments
    from forecasting.models.store_fit import estimate_populations, fit_arrays, typical_square

    weights = np.array(HALF_LIFE_WEIGHTS)
    rolling, populations = RollingMoments(panel), None
    n = len(panel.stores)
    errors: dict[str, list[float]] = {}
    for window in windows:
        origin = np.datetime64(window.origin.date(), "D")
        moments = rolling.advance(origin)
        # The previous window's estimate is close, so a few iterations from it are enough.
        populations = estimate_populations(
            moments, start=populations, iterations=12 if populations is None else 4
        )
        fit = fit_arrays(
            panel.stores, moments, populations, typical_square(moments), rolling.n_days
        )
        within = panel.days_between(np.full(n, origin), np.full(n, origin + window.horizon))
        rows = np.flatnonzero(within & (fit.n_days > 0)[panel.store])
        terms = ridge_terms(panel, fit, origin, rows)
        log_points = {variant: terms @ weights}
        if with_parts:
            log_points |= _without_parts(panel, populations, fit, origin, rows, terms)
        for name, log_point in log_points.items():
            wape = scoring.wape(np.exp(panel.y[rows]), np.exp(log_point))
            errors.setdefault(name, []).append(wape)
    return errors


def _without_parts(
    panel: Panel,
    populations: Any,
    fit: Any,
    origin: np.datetime64,
    rows: npt.NDArray[np.int64],
    terms: npt.NDArray[np.float64],
) -> dict[str, npt.NDArray[np.float64]]:
    """Forecast rows without the level, with one half-life, or without the stores' coefficients."""
    from forecasting.models.at_origin import ridge_terms
    from forecasting.models.moments import HALF_LIFE_WEIGHTS
    from forecasting.models.store_fit import linear_terms

    weights = np.array(HALF_LIFE_WEIGHTS)
    mean = np.stack([population.mean for population in populations])
    pooled = replace(fit, coefficients=np.repeat(mean[None], len(panel.stores), axis=0))
    bare = linear_terms(panel.x[rows], panel.store[rows], fit.coefficients)
    return {
        "no recent level": bare @ weights,
        "one half-life (400 days)": terms[:, 1],
        "pooled coefficients and level only": ridge_terms(panel, pooled, origin, rows) @ weights,
    }


def compare(
    days: pd.DataFrame, windows: list[Window], prefixes: tuple[str, ...]
) -> list[dict[str, Any]]:
    """Forecast the windows with each forecaster, one process each; print and return the scores.

    Args:
        days: Day panel.
        windows: Origins and horizons.
        prefixes: Prefixes of the names of the forecasters to run.
    """
    stores = np.unique(days.loc[days["sales"].notna(), "store"])
    sample = set(stores[::SAMPLE_EVERY].tolist())
    rows: list[dict[str, Any]] = []
    for name, _, package, on_sample in FORECASTERS:
        if not name.startswith(prefixes):
            continue
        if package is not None and importlib.util.find_spec(package) is None:
            print(f"{name}: skipped, {package} is missing (`make bench-forecast` installs it)")
            continue
        panel = days[days["store"].isin(sample)] if on_sample else days
        for window in windows:
            out, seconds, peak = in_a_process(name, panel, window)
            row: dict[str, Any] = {"forecaster": name, "origin": f"{window.origin:%Y-%m-%d}"}
            row |= score(out, days, sample if on_sample else None)
            row |= {f"sample_{k}": v for k, v in score(out, days, sample).items()}
            row |= {"seconds": seconds, "peak_mb": peak, "stores": panel["store"].nunique()}
            rows.append(row)
            print(
                f"{name}, origin {row['origin']}: RMSPE {row['rmspe']:.4f}, WAPE "
                f"{row['wape']:.4f}, {seconds:.0f} s, {peak:.0f} MB",
                flush=True,
            )
    return rows


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.forecast", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="a folder with Kaggle's files")
    parser.add_argument("--horizon", type=int, default=42)
    parser.add_argument("--step", type=int, default=28)
    parser.add_argument("--windows", type=int, default=6)
    parser.add_argument("--end", type=pd.Timestamp, default=pd.Timestamp("2015-06-19"))
    parser.add_argument("--only", help="comma-separated prefixes of forecaster names")
    parser.add_argument(
        "--ablation",
        action="store_true",
        help="score the linear model without each of its parts instead",
    )
    options = parser.parse_args(arguments)
    days = read_days(options.data)
    windows = windows_until(options.end, options.horizon, options.step, options.windows)
    if options.ablation:
        parts = ablation(days[days["sales"].notna()], windows)
        print(parts.round(4).to_string(index=False))
        print(json.dumps({"ablation": parts.to_dict("records")}))
        return 0
    prefixes = tuple(options.only.split(",")) if options.only else ("",)
    rows = compare(days, windows, prefixes)
    table = pd.DataFrame(rows).drop(columns="origin").groupby("forecaster", sort=False).mean()
    print(table.round(4).to_string())
    print(json.dumps({"windows": rows, "mean": table.reset_index().to_dict("records")}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
