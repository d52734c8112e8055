"""How good forecasts have turned out: measures from sums, and when to worry.

Here belongs the arithmetic on sums over scored forecasts (PostgreSQL makes them), and the bounds
beyond which people are told. The definitions are those of :mod:`forecasting.evaluation.scoring`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

#: What is added up over scored forecasts; the columns of that name in `forecast_accuracy`.
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
#: Bounds of what counts as usual. Of the 15 windows in docs/forecasting.md, all but one (the
#: first that the model ever saw a Christmas before) lie within them: a month of bad luck does not
#: cross them, intervals or levels that no longer fit do.
COVERAGE_80_TOLERANCE = 0.07
COVERAGE_95_TOLERANCE = 0.04
BIAS_TOLERANCE = 0.05
#: With fewer different days there is nothing to judge: stores err together on a day.
MIN_DAYS = 7
#: The newest days that are judged together.
RECENT_DAYS = 28


@dataclass(frozen=True)
class Accuracy:
    """Measures of some scored forecasts; NaN where nothing was sold.

    Attributes:
        forecasts: How many forecasts were scored.
        rmspe: Root mean square percentage error of ``point`` over days with sales.
        wape: Sum of the median's absolute errors over the sum of sales.
        bias: Sum of ``mean`` over the sum of sales, minus one; positive is too high.
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
        """Add up rows of sums and take the measures.

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
        """Give the measures that are numbers, by name."""
        found = {
            name: float(getattr(self, name))
            for name in ("rmspe", "wape", "bias", "coverage_80", "coverage_95")
        }
        return {name: value for name, value in found.items() if not math.isnan(value)}

    def findings(self) -> list[str]:
        """Say, a sentence each, what lies beyond the bounds."""
        said = []
        for level, share, tolerance in (
            (80, self.coverage_80, COVERAGE_80_TOLERANCE),
            (95, self.coverage_95, COVERAGE_95_TOLERANCE),
        ):
            gap = share - level / 100
            if abs(gap) > tolerance:
                width = "too narrow" if gap < 0 else "too wide"
                said.append(f"the {level} % interval holds {share:.1%} of the days: {width}")
        if abs(self.bias) > BIAS_TOLERANCE:
            side = "high" if self.bias > 0 else "low"
            said.append(f"totals are forecast {abs(self.bias):.1%} too {side}")
        return said


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole > 0 else float("nan")


@dataclass(frozen=True)
class Verdict:
    """What a look at recent accuracy found: whether all is well, in words, and by lead time."""

    passed: bool
    words: str
    table: str


def judge(rows: list[dict[str, Any]]) -> Verdict:
    """Judge recent accuracy.

    What planners saw counts; as long as none of it has met its day, backtests stand in.

    Args:
        rows: Sums by kind and week of lead time, with kind, lead_week and days.

    Returns:
        The verdict, with a Markdown table by lead time (empty when nothing has been scored).
    """
    kind = "issued" if any(row["kind"] == "issued" for row in rows) else "backtest"
    seen = [row for row in rows if row["kind"] == kind]
    if not seen:
        return Verdict(True, "no forecast has met its day yet", "")
    total = Accuracy.of(seen)
    days = max(int(row["days"]) for row in seen)
    summary = (
        f"{total.forecasts:,} {kind} forecasts of the last {days} days: RMSPE {total.rmspe:.3f}, "
        f"WAPE {total.wape:.3f}, bias {total.bias:+.1%}, coverage {total.coverage_80:.1%} of 80 % "
        f"and {total.coverage_95:.1%} of 95 %"
    )
    found = total.findings()
    if days < MIN_DAYS:
        return Verdict(True, f"too few days to judge; {summary}", _table(seen))
    return Verdict(not found, "; ".join([*found, summary]), _table(seen))


def _table(rows: list[dict[str, Any]]) -> str:
    lines = [
        "| days ahead | forecasts | RMSPE | WAPE | bias | 80 % | 95 % |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        week, found = int(row["lead_week"]), Accuracy.of([row])
        lines.append(
            f"| {7 * week - 6} to {7 * week} | {found.forecasts:,} | {found.rmspe:.4f} "
            f"| {found.wape:.4f} | {found.bias:+.1%} | {found.coverage_80:.1%} "
            f"| {found.coverage_95:.1%} |"
        )
    return "\n".join(lines)
