"""The decisions of the sensors: pure functions of what a sensor read.

Decides when to refresh and when to train. `defs/sensors.py` reads the state and turns a decision
into run requests. Which stores and periods a refresh then computes is decided in `defs/scope.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta

from forecast_assets.planning.partition_cells import StorePeriods, rectangle
from forecasting.evaluation.accuracy import MIN_DAYS

#: Delay before a failed run is retried. It doubles with each consecutive failure, up to the
#: longest.
FIRST_DELAY = timedelta(seconds=10)
LONGEST_DELAY = timedelta(minutes=10)


@dataclass(frozen=True)
class Skip:
    """Request nothing, for a reason that the sensor reports."""

    reason: str


@dataclass(frozen=True)
class PastRuns:
    """The runs of one kind, as a sensor sees them.

    Attributes:
        newest: The id of the newest run, however it ended; None before the first.
        in_flight: Whether one is queued or running.
        failures: How many of the newest runs failed in a row; the count may be capped.
        last_failure: When the newest of these ended.
    """

    newest: str | None = None
    in_flight: bool = False
    failures: int = 0
    last_failure: datetime | None = None

    def run_key(self, reason: str) -> str:
        """Return a key for the next run that no earlier run can have used.

        Dagster never runs the same run key twice. A key that ended with a capped count of failures
        would be used up after a while, and so would the ids of a restored database.
        """
        return f"{reason}-after-{self.newest or 'none'}"


@dataclass(frozen=True)
class RefreshState:
    """What the refresh sensor read in one tick.

    Attributes:
        cells: The partition cells that open changes make stale. There may be none: a plan for a
            store that has not opened yet changes no forecast.
        newest_change: The id of the newest open change; None without open changes.
        newest_period: The newest period that has a partition.
        runs: The refreshes so far.
        now: The time of the tick.
    """

    cells: StorePeriods
    newest_change: int | None
    newest_period: date
    runs: PastRuns
    now: datetime


@dataclass(frozen=True)
class Refresh:
    """Request one refresh over a rectangle of partitions."""

    first_period: date
    last_period: date
    first_store: int
    last_store: int
    run_key: str


@dataclass(frozen=True)
class ChampionState:
    """How accurate the champion was when calibrated, and how accurate its forecasts turned out.

    Attributes:
        version: The version of the champion.
        calibrated_wape: Its WAPE on past origins, measured during training; None if the history
            was too short to measure it.
        days: The number of recent days that its issued forecasts were scored on.
        wape: The WAPE on those days; NaN if nothing was sold.
        newest_day: The newest scored day.
    """

    version: str
    calibrated_wape: float | None
    days: int
    wape: float
    newest_day: date


@dataclass(frozen=True)
class TrainingState:
    """What a sensor read that requests trainings.

    Attributes:
        champion: The version of the champion; None before the first training.
        newest_features: The newest day with features; None if there is none.
        changes_open: Whether changes wait for a refresh.
        runs: The trainings so far.
        now: The time of the tick.
    """

    champion: str | None
    newest_features: date | None
    changes_open: bool
    runs: PastRuns
    now: datetime


@dataclass(frozen=True)
class Training:
    """Request a training."""

    run_key: str
    reason: str


def refresh_decision(state: RefreshState, ordered_stores: list[int]) -> Refresh | Skip:
    """Decide whether to refresh now.

    At most one refresh is in flight; changes that arrive meanwhile coalesce into the next one.
    After a failure the same changes are retried with a growing delay.

    Args:
        state: What the sensor read.
        ordered_stores: The stores in the order of the partitions definition.
    """
    if state.newest_change is None:
        return Skip("nothing has changed")
    if not ordered_stores:
        return Skip("there is no store yet")
    if state.runs.in_flight:
        return Skip("a refresh is in flight; changes since then go into the next one")
    retry_at = next_retry(state.runs)
    if retry_at is not None and state.now < retry_at:
        return Skip(
            f"consecutive failed refreshes: {state.runs.failures}; the next retry is at "
            f"{retry_at:%H:%M:%S} UTC"
        )
    corners = rectangle(state.cells, ordered_stores) if state.cells else None
    if corners is None:
        # Nothing is stale, but the changes have to be closed. Any partition will do.
        store = ordered_stores[-1]
        corners = (state.newest_period, state.newest_period, store, store)
    return Refresh(*corners, run_key=state.runs.run_key(f"change-{state.newest_change}"))


def first_training_decision(state: TrainingState, model_format: str) -> Training | Skip:
    """Decide whether to request the first training of a model format.

    Args:
        state: What the sensor read.
        model_format: The format of the models that this version of the code stores.
    """
    if state.champion is not None:
        return Skip("a pooled model exists; the schedule trains the next one")
    if state.changes_open or state.newest_features is None:
        # A first refresh in progress has written features, but not yet those of the newest days.
        return Skip("waiting for a refresh to compute the features to train on")
    return _training_now(
        state, f"first-{model_format}-{state.newest_features}", "there is no champion yet"
    )


def challenger_decision(
    state: TrainingState, recipe: str | None, *, was_compared: bool
) -> Training | Skip:
    """Decide whether to train a challenger behind a champion that was trained without one.

    Args:
        state: What the sensor read.
        recipe: The recipe of the challenger; None if the settings name none.
        was_compared: Whether a comparison of recipes chose the champion's.
    """
    if recipe is None:
        return Skip("the settings name no challenger")
    if state.champion is None:
        return Skip("there is no champion to challenge yet")
    if was_compared:
        return Skip(f"the recipe of champion {state.champion} was chosen by a comparison")
    if state.changes_open:
        return Skip("waiting for a refresh to put the champion's forecasts in force")
    return _training_now(
        state, f"challenge-{state.champion}", f"champion {state.champion} was not compared yet"
    )


def _training_now(state: TrainingState, key: str, reason: str) -> Training | Skip:
    """Request a training unless one is in flight or the last failure was too recent."""
    if state.runs.in_flight:
        return Skip("a training is in flight")
    retry_at = next_retry(state.runs)
    if retry_at is not None and state.now < retry_at:
        return Skip(f"the last training failed; the next retry is at {retry_at:%H:%M:%S} UTC")
    return Training(run_key=state.runs.run_key(key), reason=reason)


def training_decision(state: ChampionState, factor: float) -> Training | Skip:
    """Decide whether the champion has become inaccurate enough to train a new model.

    Only the champion's own forecasts count, so a new champion starts with a clean record. The run
    key contains the version and the newest day, so each new day requests at most one training.
    The decision uses WAPE whatever the configured error measure, because a few days with almost no
    sales make RMSPE jump.

    Args:
        state: The champion's accuracy.
        factor: Train when the WAPE exceeds the calibrated WAPE times this factor; above 1.
    """
    calibrated = state.calibrated_wape
    if calibrated is None:
        return Skip(f"{state.version} was not calibrated: its history was too short")
    if state.days < MIN_DAYS:
        return Skip(
            f"forecasts of {state.version} were scored on {state.days} days; {MIN_DAYS} are needed"
        )
    comparison = f"WAPE {state.wape:.4f} over {state.days} days, {calibrated:.4f} when calibrated"
    if not state.wape > factor * calibrated:
        return Skip(f"{state.version} is as accurate as expected: {comparison}")
    return Training(
        run_key=f"slipped-{state.version}-{state.newest_day}",
        reason=f"{state.version} has become less accurate: {comparison}",
    )


def next_retry(runs: PastRuns) -> datetime | None:
    """Return when to retry after consecutive failures; None means now."""
    if not runs.failures or runs.last_failure is None:
        return None
    return runs.last_failure + min(FIRST_DELAY * 2 ** min(runs.failures - 1, 10), LONGEST_DELAY)
