"""The interface facts of Kubernetes that edgek ships: types, schemas, printer columns, default roles and objects.

``packaging/pack_data.py`` makes the files and says what is in them. Loading one takes milliseconds and memory, so callers load what they need when
they need it, and decide themselves whether to keep it.
"""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any, Literal

import orjson

DIRECTORY = Path(__file__).parent / "data"


def load(name: Literal["openapi", "columns", "roles", "objects"]) -> Any:
    return orjson.loads(_text(name))


def structs() -> dict[str, bytes]:
    """Every Go struct of the API with the JSON of its fields, still to be parsed: most processes look at few of them."""
    return {struct.decode(): fields for struct, _, fields in (line.partition(b"\t") for line in _text("types").splitlines())}


def has_descriptions() -> bool:
    """Whether this edgek was built with texts for ``kubectl explain`` (``packaging/pack_descriptions.py``)."""
    return (DIRECTORY / "descriptions.z").exists()


def descriptions() -> dict[str, bytes]:
    """What is said about each struct (``core/v1.Pod``): the JSON of its texts by field, its own under the empty name.

    Empty where none were built in.
    """
    if not has_descriptions():
        return {}
    return {struct.decode(): texts for struct, _, texts in (line.partition(b"\t") for line in _text("descriptions").splitlines())}


def _text(name: str) -> bytes:
    return zlib.decompress((DIRECTORY / f"{name}.z").read_bytes())
