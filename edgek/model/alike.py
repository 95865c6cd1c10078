"""Equal values kept once: what the pods of one owner have in common (labels, ports, tolerations, requests) is most of what is kept of each.

Nobody may change what was shared.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

T = TypeVar("T")

_KEPT: dict[Any, Any] = {}
KEPT_MOST = 4096  # values; then sharing begins anew
_MAP = object()  # before a mapping's items, which as such are a value too


def shared(value: T, key: Any = None) -> T:
    """A value equal to this one. ``key`` stands for a value that cannot be hashed, and must equal no such value: without one, ``()`` is ``()``."""
    if len(_KEPT) >= KEPT_MOST:
        _KEPT.clear()
    found: T = _KEPT.setdefault(value if key is None else key, value)
    return found


def shared_map(value: Mapping[str, T]) -> Mapping[str, T]:
    """Likewise, of values that can be hashed."""
    return shared(value, (_MAP, *sorted(value.items())))
