"""Accuracy measures of scored forecasts, computed from sums, and the bounds of usual accuracy.

PostgreSQL computes the sums (`warehouse/accuracy.py`). The measures are defined as in
`forecasting/scoring.py`, which computes them from rows.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

#: Sums over scored forecasts, named as the columns of `forecast_accuracy`.
SUMS = (
    "forecasts",
    "sold",
    "sales",
    "mean",
    "absolute_error",
    "squared_percent_error",
    "inside_80",
    "inside_95",
)
#: Largest usual deviations. Of the 15 windows in docs/forecasting.md, 13 lie within these bounds,
#: so a month of chance errors rarely exceeds them.
COVERAGE_80_TOLERANCE = 0.07
COVERAGE_95_TOLERANCE = 0.04
BIAS_TOLERANCE = 0.05
#: Distinct days that a verdict needs, because the errors of all stores on one day are correlated.
MIN_DAYS = 7
#: Number of newest days that are judged together.
RECENT_DAYS = 28


@dataclass(frozen=True)
class Accuracy:
    """Accuracy measures of some scored forecasts; NaN where nothing was sold.

    Attributes:
        forecasts: Number of scored forecasts.
        rmspe: Root mean square percentage error of `point` over days with sales.
        wape: Sum of the median's absolute errors over the sum of sales.
        bias: Sum of `mean` over the sum of sales, minus one; positive is too high.
        coverage_80: Share of days with sales inside the 80 % interval.
        coverage_95: Share of days with sales inside the 95 % interval.
    """

    forecasts: int
    rmspe: float
    wape: float
    bias: float
    coverage_80: float
    coverage_95: float

    @classmethod
    def of(cls, sums: Iterable[Mapping[str, Any]]) -> Accuracy:
        """Compute the measures from the totals of some sums.

        Args:
            sums: Rows with `SUMS`.
        """
        rows = list(sums)
        total = {name: math.fsum(float(row[name]) for row in rows) for name in SUMS}
        return cls(
            forecasts=int(total["forecasts"]),
            rmspe=math.sqrt(_ratio(total["squared_percent_error"], total["sold"])),
            wape=_ratio(total["absolute_error"], total["sales"]),
            bias=_ratio(total["mean"], total["sales"]) - 1.0,
            coverage_80=_ratio(total["inside_80"], total["sold"]),
            coverage_95=_ratio(total["inside_95"], total["sold"]),
        )

    def measures(self) -> dict[str, float]:
        """Return the measures that are not NaN, by name."""
        measures = {
            name: float(getattr(self, name))
            for name in ("rmspe", "wape", "bias", "coverage_80", "coverage_95")
        }
        return {name: value for name, value in measures.items() if not math.isnan(value)}

    def findings(self) -> list[str]:
        """Return one sentence for each measure that is outside its bounds."""
        findings = []
        for level, share, tolerance in (
            (80, self.coverage_80, COVERAGE_80_TOLERANCE),
            (95, self.coverage_95, COVERAGE_95_TOLERANCE),
        ):
            gap = share - level / 100
            if abs(gap) > tolerance:
                width = "too narrow" if gap < 0 else "too wide"
                findings.append(f"the {level} % interval holds {share:.1%} of the days: {width}")
        if abs(self.bias) > BIAS_TOLERANCE:
            side = "high" if self.bias > 0 else "low"
            findings.append(f"totals are forecast {abs(self.bias):.1%} too {side}")
        return findings


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole > 0 else float("nan")


@dataclass(frozen=True)
class Verdict:
    """Verdict on recent accuracy: whether it is usual, a summary, and a table by lead time."""

    passed: bool
    summary: str
    table: str


def judge(rows: list[dict[str, Any]]) -> Verdict:
    """Judge recent accuracy.

    Issued forecasts count. Until the first of them can be scored, backtests are judged instead.

    Args:
        rows: Sums by kind and week of lead time, with kind, lead_week and days.

    Returns:
        The verdict, with a Markdown table by lead time (empty when nothing has been scored).
    """
    kind = "issued" if any(row["kind"] == "issued" for row in rows) else "backtest"
    scored = [row for row in rows if row["kind"] == kind]
    if not scored:
        return Verdict(True, "no forecast can be scored yet", "")
    total = Accuracy.of(scored)
    days = max(int(row["days"]) for row in scored)
    summary = f"{total.forecasts:,} {kind} forecasts of the last {days} days"
    if math.isnan(total.wape):
        return Verdict(
            True, f"nothing was sold on the days of the {summary}: nothing to judge", _table(scored)
        )
    summary += (
        f": RMSPE {total.rmspe:.3f}, WAPE {total.wape:.3f}, bias {total.bias:+.1%}, coverage "
        f"{total.coverage_80:.1%} of 80 % and {total.coverage_95:.1%} of 95 %"
    )
    findings = total.findings()
    if days < MIN_DAYS:
        return Verdict(True, f"too few days to judge; {summary}", _table(scored))
    return Verdict(not findings, "; ".join([*findings, summary]), _table(scored))


def _table(rows: list[dict[str, Any]]) -> str:
    lines = [
        "| days ahead | forecasts | RMSPE | WAPE | bias | 80 % | 95 % |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        week, measured = int(row["lead_week"]), Accuracy.of([row])
        lines.append(
            f"| {7 * week - 6} to {7 * week} | {measured.forecasts:,} | "
            f"{_cell(measured.rmspe, '.4f')} | {_cell(measured.wape, '.4f')} | "
            f"{_cell(measured.bias, '+.1%')} | {_cell(measured.coverage_80, '.1%')} | "
            f"{_cell(measured.coverage_95, '.1%')} |"
        )
    return "\n".join(lines)


def _cell(value: float, form: str) -> str:
    """Format a measure; a week in which nothing was sold has none."""
    return "–" if math.isnan(value) else format(value, form)
