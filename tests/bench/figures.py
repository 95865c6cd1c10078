"""What was measured beside the line it is to hold.

A benchmark is a module with ``measure() -> dict[str, float]``, whose names end in their unit, and ``LINES``: what some of them have to reach.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping

import attrs


@attrs.frozen
class Line:
    """What a figure is held to: at most ``value``, or at least that."""

    value: float
    at_least: bool = False

    def reached(self, measured: float) -> bool:
        return measured >= self.value if self.at_least else measured <= self.value

    def __str__(self) -> str:
        return f"{'>=' if self.at_least else '<='} {_rounded(self.value)}"


def at_most(value: float) -> Line:
    return Line(value)


def at_least(value: float) -> Line:
    return Line(value, at_least=True)


@attrs.frozen
class Figure:
    benchmark: str
    name: str
    measured: float
    line: Line | None

    def as_json(self) -> dict[str, object]:
        held: dict[str, object] = {}
        if self.line:
            held = {"line": str(self.line), "reached": self.line.reached(self.measured)}
        return {"benchmark": self.benchmark, "name": self.name, "measured": round(self.measured, 4), **held}


def figures(benchmark: str, measured: Mapping[str, float], lines: Mapping[str, Line]) -> list[Figure]:
    """Raises KeyError for a line whose figure was not measured."""
    missing = lines.keys() - measured.keys()
    if missing:
        raise KeyError(f"{benchmark} did not measure {', '.join(sorted(missing))}")
    return [Figure(benchmark, name, value, lines.get(name)) for name, value in measured.items()]


def table(found: Iterable[Figure]) -> str:
    rows = [("benchmark", "figure", "measured", "line", "reached")]
    for figure in found:
        verdict = "" if figure.line is None else "yes" if figure.line.reached(figure.measured) else "NO"
        rows.append((figure.benchmark, figure.name, _rounded(figure.measured), str(figure.line or ""), verdict))
    widths = [max(len(row[column]) for row in rows) for column in range(5)]
    return "\n".join(f"{row[0]:{widths[0]}}  {row[1]:{widths[1]}}  {row[2]:>{widths[2]}}  {row[3]:{widths[3]}}  {row[4]}".rstrip() for row in rows)


def spread(name: str, values: Iterable[float], unit: str) -> dict[str, float]:
    """Median, 90th percentile and the worst."""
    ordered = sorted(values)
    ninth = ordered[min(len(ordered) - 1, int(len(ordered) * 0.9))]
    return {f"{name}_p50_{unit}": statistics.median(ordered), f"{name}_p90_{unit}": ninth, f"{name}_max_{unit}": ordered[-1]}


def _rounded(value: float) -> str:
    if value and abs(value) < 10:
        return f"{value:.3g}"
    return f"{value:,.1f}".removesuffix(".0")
