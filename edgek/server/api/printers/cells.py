"""What printers have in common: ages, labels, lists that are cut short."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from edgek.model import instants, objects, selectors
from edgek.model.objects import Object

NONE = "<none>"
UNSET = "<unset>"
UNKNOWN = "<unknown>"

_MINUTE, _HOUR, _DAY, _YEAR = 60, 3600, 86400, 365 * 86400
_SHOWN_ITEMS = 3


def name(obj: Object) -> str:
    return objects.name(obj)


def spec(obj: Object) -> Mapping[str, Any]:
    return obj.get("spec") or {}


def status(obj: Object) -> Mapping[str, Any]:
    return obj.get("status") or {}


def age(obj: Object, now: datetime) -> str:
    return since((obj.get("metadata") or {}).get("creationTimestamp"), now)


def created_at(obj: Object) -> str:
    return (obj.get("metadata") or {}).get("creationTimestamp") or UNKNOWN


def since(timestamp: str | None, now: datetime) -> str:
    if not timestamp:
        return UNKNOWN
    return duration((now - instants.parse(timestamp)).total_seconds())


def between(start: str, end: str) -> str:
    return duration((instants.parse(end) - instants.parse(start)).total_seconds())


def duration(seconds: float) -> str:
    """``5s``, ``3m2s``, ``4d5h``, ``2y30d``: two or three digits that matter."""
    whole = int(seconds)
    if whole < -1:
        return "<invalid>"
    if whole < 2 * _MINUTE:
        return f"{max(whole, 0)}s"
    for limit, unit, letter, finer, finer_letter in (
        (10 * _MINUTE, _MINUTE, "m", 1, "s"),
        (3 * _HOUR, _MINUTE, "m", 0, ""),
        (8 * _HOUR, _HOUR, "h", _MINUTE, "m"),
        (2 * _DAY, _HOUR, "h", 0, ""),
        (8 * _DAY, _DAY, "d", _HOUR, "h"),
        (2 * _YEAR, _DAY, "d", 0, ""),
        (8 * _YEAR, _YEAR, "y", _DAY, "d"),
    ):
        if whole < limit:
            rest = whole % unit // finer if finer else 0
            return f"{whole // unit}{letter}{rest}{finer_letter}" if rest else f"{whole // unit}{letter}"
    return f"{whole // _YEAR}y"


def labels(found: Mapping[str, str] | None) -> str:
    return ",".join(f"{key}={value}" for key, value in sorted((found or {}).items())) or NONE


def selector(found: Mapping[str, Any] | None) -> str:
    try:
        return str(selectors.of_dict(found)) or NONE
    except selectors.SelectorError:
        return "<error>"


def shortened(items: Sequence[str], most: int = _SHOWN_ITEMS, separator: str = ",") -> str:
    """The first few, and how many more there are."""
    shown = separator.join(items[:most])
    return f"{shown} + {len(items) - most} more..." if len(items) > most else shown


def containers(pod_spec: Mapping[str, Any] | None) -> tuple[str, str]:
    """``(names, images)``."""
    found = (pod_spec or {}).get("containers") or ()
    return ",".join(c.get("name", "") for c in found), ",".join(c.get("image", "") for c in found)


def template_containers(obj: Object) -> tuple[str, str]:
    return containers((spec(obj).get("template") or {}).get("spec"))


def has_condition(obj: Object, type_: str) -> bool:
    return objects.condition_is(obj, type_)
