"""Take secrets out of text that leaves the machine: those that are known, letter for letter and as they are written in other guises, and what looks
like one. Rather too much than too little: what is blotted says so, and nobody has to guess what stood there.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable
from typing import Any
from urllib.parse import quote

BLOT = "<blotted>"
LEAST = 6  # characters of a known secret: shorter ones are words that stand everywhere
LINE_LEAST = 12  # of a line of a longer one, which may be quoted alone

_NAMES = r"(?:passwo?r?d|passphrase|secret|token|api[-_]?key|private[-_]?key|access[-_]?key|key-data|credentials?|authorization|auth|cookie)"
_VALUE = r"(\\?\"(?:[^\"\\]|\\.)*\\?\"|'[^']*'|(?!true\b|false\b|null\b)[^\s,;&\"'{}\[\]\\]+)"

# In this order: what holds others comes first. Each keeps what stands before the secret.
_PATTERNS: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL), BLOT),
    (re.compile(r"LS0tLS1CRUdJTi[A-Za-z0-9+/=\\]{40,}"), BLOT),  # a PEM text in base64, as in kubeconfigs
    (re.compile(r"eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*"), BLOT),  # a JSON Web Token
    (re.compile(r"K10[0-9a-f]{64}::[^\s\"'\\]+"), BLOT),
    (re.compile(r"\b[a-z0-9]{6}\.[a-z0-9]{16}\b"), BLOT),  # a bootstrap token
    (re.compile(r"(://[^/\s:@\"']*):[^@/\s\"']+@"), rf"\1:{BLOT}@"),
    (re.compile(r"\b(bearer|basic|digest)\s+[A-Za-z0-9._~+/=-]{6,}", re.IGNORECASE), rf"\1 {BLOT}"),
    (re.compile(rf"(--[\w-]{{0,64}}{_NAMES}(?:\s+|=))(?!-)[^\s\"']+", re.IGNORECASE), rf"\1{BLOT}"),
    (
        re.compile(rf"({_NAMES}\\?[\"']?\s*[:=][ \t]*){_VALUE}", re.IGNORECASE),
        rf"\1{BLOT}",
    ),  # without what the name begins with: that would be looked for at every letter
)
_FLAG = re.compile(rf"--?[\w-]*{_NAMES}", re.IGNORECASE)  # its secret is the next word
_NAMED = re.compile(rf"[\w.-]*{_NAMES}", re.IGNORECASE)
_DROPPED = ("kubectl.kubernetes.io/last-applied-configuration",)  # says it all once more


class Blotter:
    """``known`` are secrets of this machine, as they are."""

    def __init__(self, known: Iterable[str]) -> None:
        self._known = sorted(set(_guises(known)), key=len, reverse=True)

    def text(self, text: str) -> str:
        for secret in self._known:
            if secret in text:
                text = text.replace(secret, BLOT)
        for pattern, instead in _PATTERNS:
            text = pattern.sub(instead, text)
        return text

    def objects(self, objects: Iterable[Any]) -> str:
        """Objects of the API as JSON. What a container finds in its environment is its own affair."""
        return self.text(json.dumps([_without_values(each) for each in objects], indent=1, sort_keys=True, ensure_ascii=False))


def _without_values(value: Any, within: str = "") -> Any:
    if isinstance(value, list):
        after_flag = [False, *(isinstance(each, str) and _FLAG.fullmatch(each) is not None for each in value)]
        return [BLOT if hidden else _without_values(each, within) for each, hidden in zip(value, after_flag, strict=False)]
    if not isinstance(value, dict):
        return value
    found = {key: _without_values(each, key) for key, each in value.items() if key not in _DROPPED and key != "managedFields"}
    if "value" in found and (within == "env" or _NAMED.fullmatch(str(found.get("name")))):
        found["value"] = BLOT
    return found


def _guises(known: Iterable[str]) -> Iterable[str]:
    for secret in known:
        for text in _pieces(secret):
            encoded = base64.b64encode(text.encode()).decode()
            for guise in (text, json.dumps(text)[1:-1], quote(text, safe=""), encoded, encoded.rstrip("="), text.encode().hex()):
                if len(guise) >= LEAST:
                    yield guise


def _pieces(secret: str) -> Iterable[str]:
    text = secret.strip()
    if len(text) >= LEAST:
        yield text
    lines = [line.strip() for line in text.splitlines()]
    if len(lines) > 1:
        yield from (line for line in lines if len(line) >= LINE_LEAST and " " not in line)
