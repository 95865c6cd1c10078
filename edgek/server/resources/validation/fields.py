"""Where a problem is and how it is worded: ``Path``, ``FieldError`` and the ``Errors`` that collects them.

The texts are the interface: clients match on ``causes`` and people read them, so each method here is one of upstream's error types.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import attrs
import orjson

from edgek.model.errors import Cause

IMMUTABLE = "field is immutable"


@attrs.frozen
class FieldError:
    """One reason why an object is invalid: ``spec.replicas: Invalid value: -1: must be greater than or equal to 0``.

    ``reason`` is upstream's cause (``FieldValueInvalid`` ...), ``detail`` is the text after the field.
    """

    field: str
    reason: str
    detail: str

    def __str__(self) -> str:
        return f"{self.field}: {self.detail}"

    def cause(self) -> Cause:
        return Cause(self.reason, self.detail, self.field)


@attrs.frozen
class Path:
    """A field's place: ``Path("spec") / "ports"`` is ``spec.ports``, and ``[0]`` or ``["a.b"]`` after it an index or a key."""

    text: str = ""

    def __truediv__(self, name: str) -> Path:
        return Path(f"{self.text}.{name}" if self.text else name)

    def __getitem__(self, key: int | str) -> Path:
        return Path(f"{self.text}[{key}]")

    def __str__(self) -> str:
        return self.text


METADATA = Path("metadata")
SPEC = Path("spec")
STATUS = Path("status")


class Omit:
    """In place of a value that the message leaves out."""


OMIT = Omit()


def shown(value: Any) -> str:
    """A value as messages show it: strings quoted, everything else as JSON."""
    return orjson.dumps(value).decode()


@attrs.define
class Errors:
    """Collects problems in the order in which they are found, which is the order in which clients see them."""

    found: list[FieldError] = attrs.field(factory=list)

    def __iter__(self) -> Iterator[FieldError]:
        return iter(self.found)

    def __len__(self) -> int:
        return len(self.found)

    def _add(self, at: Path, reason: str, text: str, detail: str) -> None:
        self.found.append(FieldError(at.text or "[]", reason, f"{text}: {detail}" if detail else text))

    def required(self, at: Path, detail: str = "") -> None:
        self._add(at, "FieldValueRequired", "Required value", detail)

    def invalid(self, at: Path, value: Any, detail: str) -> None:
        text = "Invalid value" if isinstance(value, Omit) else f"Invalid value: {shown(value)}"
        self._add(at, "FieldValueInvalid", text, detail)

    def invalid_each(self, at: Path, value: Any, details: Iterable[str]) -> None:
        for detail in details:
            self.invalid(at, value, detail)

    def forbidden(self, at: Path, detail: str) -> None:
        self._add(at, "FieldValueForbidden", "Forbidden", detail)

    def unsupported(self, at: Path, value: Any, supported: Sequence[str]) -> None:
        listed = f"supported values: {', '.join(shown(each) for each in supported)}"
        self._add(at, "FieldValueNotSupported", f"Unsupported value: {shown(value)}", listed)

    def duplicate(self, at: Path, value: Any, detail: str = "") -> None:
        self._add(at, "FieldValueDuplicate", f"Duplicate value: {shown(value)}", detail)

    def not_found(self, at: Path, value: Any, detail: str = "") -> None:
        self._add(at, "FieldValueNotFound", f"Not found: {shown(value)}", detail)

    def too_long(self, at: Path, limit_bytes: int) -> None:
        self._add(at, "FieldValueTooLong", "Too long", f"may not be more than {limit_bytes} bytes")

    def too_many(self, at: Path, count: int, limit: int) -> None:
        self._add(at, "FieldValueTooMany", f"Too many: {count}", f"must have at most {limit} items")

    # What many fields share:

    def choice(self, at: Path, value: Any, supported: Sequence[str]) -> None:
        if value not in supported:
            self.unsupported(at, value, supported)

    def non_negative(self, at: Path, value: int | None) -> None:
        if value is not None and value < 0:
            self.invalid(at, value, "must be greater than or equal to 0")

    def positive(self, at: Path, value: int | None) -> None:
        if value is not None and value <= 0:
            self.invalid(at, value, "must be greater than 0")

    def immutable(self, at: Path, value: Any, old: Any) -> None:
        """Absent, null, empty: for the rules, all the same."""
        if (value or None) != (old or None):
            self.invalid(at, value, IMMUTABLE)


def members_set(value: Mapping[str, Any], names: Sequence[str]) -> list[str]:
    """Which of the members of a union are there. An empty object counts, null does not."""
    return [name for name in names if value.get(name) is not None]


def items(value: Mapping[str, Any] | None, name: str, at: Path) -> Iterator[tuple[Path, Any]]:
    """The elements of a list, each with its place."""
    for index, item in enumerate((value or {}).get(name) or ()):
        yield (at / name)[index], item
