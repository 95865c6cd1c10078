"""Schedules in the five fields of cron, and the time zones in which they are meant. Texts are those of the parser that upstream uses."""

from __future__ import annotations

from collections.abc import Mapping

# A field's name, the smallest and the largest number, and names for numbers.
_MONTHS = {name: number for number, name in enumerate(["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"], start=1)}
_DAYS = {name: number for number, name in enumerate(["sun", "mon", "tue", "wed", "thu", "fri", "sat"])}
_FIELDS: tuple[tuple[int, int, Mapping[str, int]], ...] = ((0, 59, {}), (0, 23, {}), (1, 31, {}), (1, 12, _MONTHS), (0, 6, _DAYS))
_DESCRIPTORS = ("@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly")


class _BadField(Exception):
    """The message says what is wrong."""


def schedule_problem(schedule: str) -> str:
    """What is wrong with a schedule; empty when nothing is."""
    if "TZ" in schedule:
        return "cannot use TZ or CRON_TZ in schedule, use timeZone field instead"
    if schedule.startswith("@"):
        known = schedule in _DESCRIPTORS or schedule.startswith("@every ")
        return "" if known else f"unrecognized descriptor: {schedule}"
    fields = schedule.split()
    if len(fields) != len(_FIELDS):
        return f"expected exactly {len(_FIELDS)} fields, found {len(fields)}: [{' '.join(fields)}]"
    try:
        for text, (least, most, words) in zip(fields, _FIELDS, strict=True):
            for part in text.split(","):
                _check_range(part, least, most, words)
    except _BadField as problem:
        return str(problem)
    return ""


def _check_range(text: str, least: int, most: int, words: Mapping[str, int]) -> None:
    """``*``, ``5``, ``1-5``, each with ``/2`` or without."""
    span, _, step = text.partition("/")
    if text.count("/") > 1:
        raise _BadField(f"too many slashes: {text}")
    low, dash, high = span.partition("-")
    if high.count("-"):
        raise _BadField(f"too many hyphens: {text}")
    if span in ("*", "?"):
        start, end = least, most
    else:
        start = _number(low, words)
        end = _number(high, words) if dash else start
    if "/" in text and _number(step, {}) == 0:
        raise _BadField(f"step of range should be a positive number: {text}")
    if start < least:
        raise _BadField(f"beginning of range ({start}) below minimum ({least}): {text}")
    if end > most:
        raise _BadField(f"end of range ({end}) above maximum ({most}): {text}")
    if start > end:
        raise _BadField(f"beginning of range ({start}) beyond end of range ({end}): {text}")


def _number(text: str, words: Mapping[str, int]) -> int:
    if text.lower() in words:
        return words[text.lower()]
    if not text.isdecimal():
        raise _BadField(f'failed to parse int from {text}: strconv.Atoi: parsing "{text}": invalid syntax')
    return int(text)


def time_zone_problem(zone: str) -> str:
    """What is wrong with the name of a time zone; empty when nothing is. ``Local`` would mean another one on every server."""
    import zoneinfo  # loads on first use: few clusters have cron jobs

    if not zone:
        return "timeZone must be nil or non-empty string"
    if zone.lower() == "local":
        return "timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones"
    try:
        zoneinfo.ZoneInfo(zone)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        return f"unknown time zone {zone}"
    return ""
