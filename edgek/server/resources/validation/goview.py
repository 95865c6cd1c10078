"""Objects as some of upstream's messages show them: its internal structures, every field there, absent ones as zero values.

Clients that print a 422 show these dumps to people, and tests compare them. Only types that appear in such messages have a line here; anything deeper
is shown as it came, its names capitalised.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

import orjson

from edgek.server.resources.validation.gotypes import TYPES

_ODD_NAMES = {"CephFS": "cephfs", "StorageOS": "storageos"}
_ZEROES: dict[str, Any] = {"false": False, "0": 0}
# Fields of the pod spec that upstream keeps in its pod security context.
_HOST_FIELDS = ("hostNetwork", "hostPID", "hostIPC", "shareProcessNamespace", "hostUsers")


def dumped(type_: str, value: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """A structure of this type with every field in upstream's order."""
    if value is None:
        return None
    if type_ == "PodSpec":
        value = {**value, "securityContext": {**(value.get("securityContext") or {}), **{k: value[k] for k in _HOST_FIELDS if k in value}}}
    return dict(_field(text, value) for text in TYPES[type_].split())


def dumped_template(template: Mapping[str, Any]) -> dict[str, Any]:
    """A pod template: its metadata stands there without a name of its own."""
    meta = {key: value for key, value in (template.get("metadata") or {}).items() if value}
    return {**meta, "Spec": dumped("PodSpec", template.get("spec") or {})}


def difference(type_: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    """A unified diff of two structures, as upstream appends it to "may not change"."""
    before, after = (orjson.dumps(dumped(type_, each), option=orjson.OPT_INDENT_2).decode() for each in (old, new))
    lines = list(difflib.unified_diff(_one_blank(before), _one_blank(after), lineterm=""))
    return "".join(f"{line}\n" for line in lines[2:])


def _one_blank(text: str) -> list[str]:
    """Upstream indents by one blank."""
    lines = text.splitlines()
    return [" " * ((len(line) - len(line.lstrip())) // 2) + line.lstrip() for line in lines]


def _field(text: str, value: Mapping[str, Any]) -> tuple[str, Any]:
    name = text.rstrip("?")
    for mark in "=:*[":
        if mark in text:
            name, _, rest = text.partition(mark)
            return name, _marked(mark, rest, value.get(_json_name(name)))
    found = value.get(_json_name(name))
    if text.endswith("?"):
        return name, None if found in ([], {}) else _capitalised(found) if name in _DEEP else found
    return name, "" if found is None else found


# Unlisted structures below these are shown with capitalised names; other open fields are maps and plain values, shown as they are.
_DEEP = frozenset(
    {"NodeAffinity", "PodAffinity", "PodAntiAffinity", "Ephemeral", "Image", "CSI", "TopologySpreadConstraints", "Options", "RollingUpdate"}
)


def _marked(mark: str, rest: str, found: Any) -> Any:
    if mark == "=":
        return _ZEROES[rest] if found is None else found
    if mark == ":":
        return dumped(rest, found or {})
    if mark == "*":
        return dumped(rest, found)
    return [dumped(rest, each) for each in found] if found else None


def _json_name(name: str) -> str:
    """``DNSPolicy`` → ``dnsPolicy``, ``TTY`` → ``tty``: the capitals at the start, but not that of a second word, become small."""
    if name in _ODD_NAMES:
        return _ODD_NAMES[name]
    capitals = next((index for index, char in enumerate(name) if not char.isupper()), len(name))
    small = capitals if capitals in (1, len(name)) else capitals - 1
    return name[:small].lower() + name[small:]


def _capitalised(value: Any) -> Any:
    if isinstance(value, dict):
        return {key[:1].upper() + key[1:]: _capitalised(each) for key, each in value.items()}
    return [_capitalised(each) for each in value] if isinstance(value, list) else value
