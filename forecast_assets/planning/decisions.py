"""The decisions of the sensors: pure functions of what a sensor read.

Decides when to refresh and when to train. `defs/sensors.py` reads the state and turns a decision
into run requests.
"""

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
class RefreshState:
    """What the refresh sensor read in one tick.

    Attributes:
        cells: The partition cells that open changes make stale; empty without open changes.
        newest_change: The id of the newest open change.
        in_flight: Whether a refresh is queued or running.
        failures: Consecutive failed refreshes since the last success.
        last_failure: When the newest of them ended.
        now: The time of the tick.
    """

    cells: StorePeriods
    newest_change: int
    in_flight: bool
    failures: int
    last_failure: datetime | None
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
    if not state.cells:
        return Skip("nothing has changed")
    if state.in_flight:
        return Skip("a refresh is in flight; changes since then go into the next one")
    retry_at = next_retry(state.failures, state.last_failure)
    if retry_at is not None and state.now < retry_at:
        return Skip(
            f"consecutive failed refreshes: {state.failures}; the next retry is at "
            f"{retry_at:%H:%M:%S} UTC"
        )
    corners = rectangle(state.cells, ordered_stores)
    if corners is None:
        return Skip("the changed stores have no partition yet")
    # Dagster never runs the same run key twice, so the key includes the failure count. Then the
    # same changes can be retried.
    return Refresh(*corners, run_key=f"change-{state.newest_change}-try-{state.failures}")


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


def next_retry(failures: int, last_failure: datetime | None) -> datetime | None:
    """Return when to retry after consecutive failures; None means now."""
    if not failures or last_failure is None:
        return None
    return last_failure + min(FIRST_DELAY * 2 ** min(failures - 1, 10), LONGEST_DELAY)
