"""Whether forecasts have become so much worse that a new model is wanted: a sensor's decision."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from forecast_assets.planning.refresh import Wait
from forecasting.evaluation.accuracy import MIN_DAYS


@dataclass(frozen=True)
class Record:
    """What the serving model promised, and what its forecasts came to.

    Attributes:
        version: The serving pooled model.
        calibrated_wape: Its WAPE on past origins, measured when it was trained; None when its
            history was too short to measure it.
        days: Different days, among the newest, that its issued forecasts have met.
        wape: Their WAPE; NaN when nothing was sold.
        newest_day: The newest day that has been scored.
    """

    version: str
    calibrated_wape: float | None
    days: int
    wape: float
    newest_day: date


@dataclass(frozen=True)
class Retrain:
    """Ask for a training."""

    run_key: str
    reason: str


def decide(record: Record, factor: float) -> Retrain | Wait:
    """Whether to train now.

    Only the serving model's own forecasts count, so a new model is judged afresh, and at most one
    training is asked for a newest day: the key holds both. WAPE decides, whatever the error
    measure: a few days on which a store sold almost nothing make RMSPE jump.

    Args:
        record: What is known of the serving model.
        factor: How many times less accurate than promised is too much; above 1.
    """
    promised = record.calibrated_wape
    if promised is None:
        return Wait(f"nothing was promised when {record.version} was trained")
    if record.days < MIN_DAYS:
        return Wait(
            f"forecasts by {record.version} have met {record.days} days; {MIN_DAYS} are needed"
        )
    compared = f"WAPE {record.wape:.4f} over {record.days} days, {promised:.4f} when calibrated"
    if not record.wape > factor * promised:
        return Wait(f"{record.version} holds: {compared}")
    return Retrain(
        run_key=f"slipped-{record.version}-{record.newest_day}",
        reason=f"{record.version} has slipped: {compared}",
    )
