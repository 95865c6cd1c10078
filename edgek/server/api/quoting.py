"""Text as upstream's messages quote it (Go's ``%q``): clients and tests compare these letter by letter."""

from __future__ import annotations

import json
from collections.abc import Iterable


def quoted(text: str) -> str:
    """``"text"``, with line breaks and quotes escaped."""
    return json.dumps(text, ensure_ascii=False)


def quoted_list(texts: Iterable[str]) -> str:
    """``["a" "b"]``."""
    return f"[{' '.join(quoted(text) for text in texts)}]"
