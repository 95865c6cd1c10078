"""YAML bodies, read as Kubernetes reads them.

Upstream turns YAML into JSON with go-yaml v2, and that decides what a bare word means: ``yes``, ``on`` and ``y`` are booleans, ``0755`` is octal,
``1e3`` is a number, ``12:30`` and ``2020-01-01`` are strings. Keys are strings in the end. PyYAML is loaded on the first YAML body.
"""

from __future__ import annotations

import functools
import re
from typing import Any

import orjson

_NULL = re.compile(r"~|null|Null|NULL|")
_TRUE = ("y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON")
_FALSE = ("n", "N", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF")
_BOOL = re.compile("|".join((*_TRUE, *_FALSE)))
_INT = re.compile(r"[-+]?(0|[1-9][0-9_]*|0[0-7_]+|0[xX][0-9a-fA-F_]+|0[oO][0-7_]+|0[bB][01_]+)")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_MERGE = re.compile(r"<<")


# Aliases may repeat what they name, but not blow a small text up: go-yaml has such a limit as well.
MOST_NODES = 100_000


class YAMLProblem(ValueError):
    """Not YAML, or not something JSON can say; the message is go-yaml's."""


def load(raw: bytes) -> tuple[Any, list[str]]:
    """The value, and a text per key that is set twice (``line 6: key "paused" already set in map``); the last one counts."""
    import yaml  # 3 MB that most servers never need

    loader = _loader_class()(raw)
    try:
        value = loader.get_single_data()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f"line {mark.line + 1}: " if mark is not None else ""
        raise YAMLProblem(f"yaml: {line}{error.problem or error.context}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise YAMLProblem(f"yaml: {error}") from None
    finally:
        loader.dispose()
    _count(value, MOST_NODES + len(raw))
    # Once through JSON: what aliases share is shared no more, and what JSON cannot say is found out here.
    try:
        return orjson.loads(orjson.dumps(value)), loader.repeated
    except (orjson.JSONEncodeError, orjson.JSONDecodeError) as error:
        raise YAMLProblem(f"yaml: {error}") from None


def _count(value: Any, left: int) -> int:
    """How many more nodes there may be after these. Raises YAMLProblem, RecursionError."""
    left -= 1
    if left < 0:
        raise YAMLProblem("yaml: document contains excessive aliasing")
    for part in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        left = _count(part, left)
    return left


@functools.cache
def _loader_class() -> Any:
    import yaml

    base = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

    class Loader(base):  # type: ignore[misc,valid-type]  # the C loader where PyYAML was built with it
        yaml_implicit_resolvers: dict[Any, Any] = {}  # noqa: RUF012  # PyYAML's own attribute
        yaml_constructors = dict(base.yaml_constructors)  # noqa: RUF012

        def __init__(self, stream: bytes) -> None:
            super().__init__(stream)
            self.repeated: list[str] = []

        def construct_mapping(self, node: Any, deep: bool = False) -> dict[str, Any]:
            self._note_repeated(node)
            self.flatten_mapping(node)
            return {_key(self.construct_object(key, deep=True)): self.construct_object(value, deep=True) for key, value in node.value}

        def _note_repeated(self, node: Any) -> None:
            seen = set()
            for key, _ in node.value:
                if key.value in seen and key.tag != "tag:yaml.org,2002:merge":
                    self.repeated.append(f'line {key.start_mark.line + 1}: key "{key.value}" already set in map')
                if isinstance(key.value, str):
                    seen.add(key.value)

    for tag, pattern in (("null", _NULL), ("bool", _BOOL), ("int", _INT), ("float", _FLOAT), ("merge", _MERGE)):
        # PyYAML anchors nothing: it calls match(), so the end has to be said.
        Loader.add_implicit_resolver(f"tag:yaml.org,2002:{tag}", re.compile(f"(?:{pattern.pattern})$"), None)
    Loader.add_constructor("tag:yaml.org,2002:bool", lambda loader, node: node.value in _TRUE)
    Loader.add_constructor("tag:yaml.org,2002:int", lambda loader, node: _int(node.value))
    Loader.add_constructor("tag:yaml.org,2002:float", lambda loader, node: float(node.value))
    Loader.add_constructor("tag:yaml.org,2002:map", lambda loader, node: loader.construct_mapping(node))
    Loader.add_constructor("tag:yaml.org,2002:timestamp", lambda loader, node: node.value)
    Loader.add_constructor("tag:yaml.org,2002:binary", lambda loader, node: node.value)
    return Loader


def _int(text: str) -> int | float:
    digits = text.replace("_", "")
    sign = -1 if digits.startswith("-") else 1
    digits = digits.lstrip("+-")
    is_old_octal = len(digits) > 1 and digits[0] == "0" and digits[1].isdigit()
    value = sign * int(digits, 8 if is_old_octal else 0)
    return value if -(1 << 63) <= value < 1 << 64 else float(value)


def _key(key: Any) -> str:
    """A mapping's key as JSON has it. Raises YAMLProblem for one that JSON cannot have."""
    if isinstance(key, bool):
        return "true" if key else "false"
    if isinstance(key, (str, int, float)):
        return str(key)
    raise YAMLProblem(f"unsupported map key of type: {type(key).__name__}")
