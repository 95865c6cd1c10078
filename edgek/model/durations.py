"""Spans of time as Go programs spell them, and so flags and annotations: ``45s``, ``10m``, ``1h30m``, ``1.5h``. Pure."""

from __future__ import annotations

import re

UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_WHOLE = re.compile(r"(?:\d+(?:\.\d+)?(?:ms|s|m|h))+", re.ASCII)
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h)", re.ASCII)


def parse(text: str) -> float:
    """Seconds. Raises ValueError that shows how a time is written."""
    if not _WHOLE.fullmatch(text):
        raise ValueError("a time is numbers with their units h, m, s or ms, such as 45s, 10m or 1h30m")
    return sum(float(number) * UNITS[unit] for number, unit in _PART.findall(text))


def spell(seconds: float) -> str:
    """``1h30m`` for 5400: the shortest spelling, of whole seconds."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    parts = [f"{number}{unit}" for number, unit in ((hours, "h"), (minutes, "m"), (rest, "s")) if number]
    return "".join(parts) or "0s"
