"""Times as the API writes them: RFC 3339 in UTC, to the second or to the microsecond.

Refusals are worded as Go's ``time.Parse`` words them. Nothing here reads a clock (``host/wallclock.py`` does).
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

_SECONDS_LAYOUT = "2006-01-02T15:04:05Z07:00"
_MICROS_LAYOUT = "2006-01-02T15:04:05.000000Z07:00"

_CANONICAL = re.compile(r"\d{4}-(0[1-9]|1[0-2])-(0[1-9]|1\d|2[0-8])T([01]\d|2[0-3]):[0-5]\d:[0-5]\dZ")
_FRACTION = (r"(?:[.,](?P<fraction>\d+))?", "")
_MICROS = (r"[.,](?P<fraction>\d{6})", ".000000")
# How the value is read piece by piece; the second of each pair is what the layout calls it when it does not fit.
_PIECES = (
    (r"(?P<year>\d{4})", "2006"),
    ("-", "-"),
    (r"(?P<month>\d\d)", "01"),
    ("-", "-"),
    (r"(?P<day>\d\d)", "02"),
    ("T", "T"),
    (r"(?P<hour>\d\d)", "15"),
    (":", ":"),
    (r"(?P<minute>\d\d)", "04"),
    (":", ":"),
    (r"(?P<second>\d\d)", "05"),
)
_ZONE = (r"(?:(?P<utc>Z)|(?P<sign>[+-])(?P<zone_hours>\d\d):(?P<zone_minutes>\d\d))", "Z07:00")
_RANGES = {"month": (1, 12), "day": (1, 31), "hour": (0, 23), "minute": (0, 59), "second": (0, 59)}


class InstantError(ValueError):
    """Not a time; the message is Go's."""


def canonical(text: str) -> str:
    """To the second, in UTC: ``2006-01-02T15:04:05Z``. Raises InstantError."""
    if _CANONICAL.fullmatch(text):
        return text
    return parse(text).strftime("%Y-%m-%dT%H:%M:%SZ").rjust(20, "0")


def canonical_micros(text: str) -> str:
    """To the microsecond, in UTC: ``2006-01-02T15:04:05.000000Z``. Raises InstantError."""
    return _parse(text, _MICROS_LAYOUT, (*_PIECES, _MICROS, _ZONE)).strftime("%Y-%m-%dT%H:%M:%S.%fZ").rjust(27, "0")


def parse(text: str) -> datetime:
    """Any RFC 3339 time. Raises InstantError."""
    return _parse(text, _SECONDS_LAYOUT, (*_PIECES, _FRACTION, _ZONE))


def of_unix(seconds: int, nanos: int = 0) -> datetime:
    """The time ``seconds`` after 1970, as protobuf sends it."""
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds, microseconds=nanos // 1000)


def _parse(text: str, layout: str, pieces: tuple[tuple[str, str], ...]) -> datetime:
    found: dict[str, str] = {}
    rest = text
    for pattern, element in pieces:
        match = re.match(pattern, rest)
        if match is None:
            raise InstantError(f'parsing time "{text}" as "{layout}": cannot parse "{rest}" as "{element}"')
        found |= {name: value for name, value in match.groupdict().items() if value is not None}
        rest = rest[match.end() :]
        _check_range(text, match)
    if rest:
        raise InstantError(f'parsing time "{text}": extra text: "{rest}"')
    try:
        year, month, day, hour, minute, second = (int(found[name]) for name in ("year", "month", "day", "hour", "minute", "second"))
        local = datetime(year, month, day, hour, minute, second, tzinfo=UTC)
    except ValueError:
        raise InstantError(f'parsing time "{text}": day out of range') from None
    micros = int((found.get("fraction", "") + "000000")[:6])
    return local + timedelta(microseconds=micros) - _offset(found)


def _check_range(text: str, match: re.Match[str]) -> None:
    for name, value in match.groupdict().items():
        least, most = _RANGES.get(name, (0, 9999))
        if value is not None and name in _RANGES and not least <= int(value) <= most:
            raise InstantError(f'parsing time "{text}": {name} out of range')


def _offset(found: dict[str, str]) -> timedelta:
    if "sign" not in found:
        return timedelta()
    offset = timedelta(hours=int(found["zone_hours"]), minutes=int(found["zone_minutes"]))
    return -offset if found["sign"] == "-" else offset
