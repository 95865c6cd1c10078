"""Label selectors as objects carry them (``matchLabels``, ``matchExpressions``), held against labels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Selector = dict[str, Any]


def matches(selector: Selector | None, labels: Mapping[str, str]) -> bool:
    """An empty selector matches everything, none at all nothing."""
    if selector is None:
        return False
    wanted: Mapping[str, str] = selector.get("matchLabels") or {}
    if any(labels.get(key) != value for key, value in wanted.items()):
        return False
    return all(_holds(each, labels) for each in selector.get("matchExpressions") or ())


def is_empty(selector: Selector | None) -> bool:
    return not selector or not (selector.get("matchLabels") or selector.get("matchExpressions"))


def _holds(expression: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    value = labels.get(expression["key"])
    match expression["operator"]:
        case "In":
            return value is not None and value in (expression.get("values") or ())
        case "NotIn":
            return value is None or value not in (expression.get("values") or ())
        case "Exists":
            return value is not None
        case "DoesNotExist":
            return value is None
    return False
