"""Conditions of a status, as lists of dicts. A list that came from a cache is never changed in place."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from edgek.host import wallclock

Condition = dict[str, Any]


def new(type_: str, status: str, reason: str, message: str, *, updated: bool = False) -> Condition:
    """``updated`` for kinds whose conditions have a ``lastUpdateTime`` (Deployment)."""
    now = wallclock.now_rfc3339()
    made = {"type": type_, "status": status, "lastTransitionTime": now, "reason": reason, "message": message}
    return {**made, "lastUpdateTime": now} if updated else made


def find(conditions: Iterable[Condition] | None, type_: str) -> Condition | None:
    return next((each for each in conditions or () if each.get("type") == type_), None)


def without(conditions: Iterable[Condition] | None, type_: str) -> list[Condition]:
    return [each for each in conditions or () if each.get("type") != type_]


def put(conditions: Iterable[Condition] | None, condition: Condition) -> list[Condition]:
    """With ``condition`` in it. The same status and reason stay as they were; the same status keeps its transition time."""
    conditions = list(conditions or ())
    current = find(conditions, condition["type"])
    if current is None:
        return [*conditions, condition]
    if current.get("status") == condition["status"]:
        if current.get("reason") == condition.get("reason"):
            return conditions
        condition = {**condition, "lastTransitionTime": current.get("lastTransitionTime")}
    return [*without(conditions, condition["type"]), condition]


def put_in_place(conditions: Iterable[Condition] | None, condition: Condition) -> list[Condition]:
    """As ``put``, but order is kept, a new message counts too, and a condition that says nothing new stays the very same."""
    conditions = list(conditions or ())
    for index, current in enumerate(conditions):
        if current.get("type") != condition["type"]:
            continue
        if current.get("status") == condition["status"]:
            condition = {**condition, "lastTransitionTime": current.get("lastTransitionTime")}
        conditions[index] = {**current, **condition}
        return conditions
    return [*conditions, condition]
