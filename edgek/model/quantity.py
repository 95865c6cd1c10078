"""Quantities, exactly: ``250m``, ``1.5Gi``, ``1e3``.

A quantity is a whole number of billionths plus the family of suffixes it was written with; no floats anywhere. Canonical form and rounding follow
k8s.io/apimachinery/pkg/api/resource: the largest suffix that leaves no fraction, and what is finer than a billionth is rounded up.
"""

from __future__ import annotations

import functools
import re
from typing import Literal

import attrs

NANO = 10**9  # billionths in one
MILLI = 10**6

Family = Literal["decimal", "binary", "exponent"]

# Upstream keeps quantities within an int64; a larger one is cut there.
MOST = ((1 << 63) - 1) * NANO

FORMAT_PROBLEM = "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
SUFFIX_PROBLEM = "unable to parse quantity's suffix"

_BINARY = {"Ki": 1 << 10, "Mi": 1 << 20, "Gi": 1 << 30, "Ti": 1 << 40, "Pi": 1 << 50, "Ei": 1 << 60}
_DECIMAL = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_DECIMAL_SUFFIX = {exponent: suffix for suffix, exponent in _DECIMAL.items()}
_SHAPE = re.compile(r"([+-]?)([0-9]*)(?:\.([0-9]*))?([eEinumkKMGTP]*[-+]?[0-9]*)")
_EXPONENT = re.compile(r"[eE]([-+]?[0-9]+)")
_LONGEST = 256  # characters: far more than any number that fits, and short enough for the pattern and the cache
_LARGEST_EXPONENT = 64  # beyond it every quantity is cut at MOST or rounded up to one billionth


class QuantityError(ValueError):
    """Not a quantity; the message is upstream's."""


@functools.total_ordering
@attrs.frozen(eq=False)
class Quantity:
    """``nanos`` is the value in billionths. Equality, order and sums ignore ``family``, which only says how to print."""

    nanos: int
    family: Family = "decimal"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Quantity) and self.nanos == other.nanos

    def __lt__(self, other: Quantity) -> bool:
        return self.nanos < other.nanos

    def __hash__(self) -> int:
        return hash(self.nanos)

    def __add__(self, other: Quantity) -> Quantity:
        """The sum, printed like the left side (like the right one where the left is zero)."""
        return Quantity(self.nanos + other.nanos, self.family if self.nanos else other.family)

    def __sub__(self, other: Quantity) -> Quantity:
        return Quantity(self.nanos - other.nanos, self.family if self.nanos else other.family)

    def __neg__(self) -> Quantity:
        return Quantity(-self.nanos, self.family)

    @property
    def value(self) -> int:
        """Whole units, rounded up: bytes of memory, numbers of pods."""
        return _divide_up(self.nanos, NANO)

    @property
    def millis(self) -> int:
        """Thousandths, rounded up: millicores."""
        return _divide_up(self.nanos, MILLI)

    def __str__(self) -> str:
        if not self.nanos:
            return "0"
        if self.family == "binary" and abs(self.nanos) >= 1024 * NANO:
            return _binary(self.value)
        return _decimal(self.nanos, self.family)


ZERO = Quantity(0)


def parse(text: str) -> Quantity:
    """Raises QuantityError in upstream's words."""
    shape = _SHAPE.fullmatch(text) if len(text) <= _LONGEST else None
    if shape is None or not (shape[2] or shape[3]):
        raise QuantityError(FORMAT_PROBLEM)
    sign, whole, fraction, suffix = shape[1], shape[2], shape[3] or "", shape[4]
    scale, exponent, family = _suffix(suffix)
    numerator = int(whole + fraction or "0") * scale * NANO
    nanos = _scaled(numerator, exponent - len(fraction))
    nanos = min(nanos, MOST)
    return Quantity(-nanos if sign == "-" else nanos, family)


@functools.lru_cache(maxsize=1024)
def canonical(text: str) -> str:
    """How the API prints this quantity. Raises QuantityError."""
    return str(parse(text))


def of_json(value: str | int | float) -> str:
    """The canonical form of a quantity as a client sent it: JSON numbers are allowed."""
    return canonical(value if isinstance(value, str) else format(value, "d") if isinstance(value, int) else repr(value))


def of_bytes(count: int) -> Quantity:
    return Quantity(count * NANO, "binary")


def total(texts: list[str]) -> Quantity:
    """The sum of quantities as objects carry them."""
    return sum(map(parse, texts), ZERO)


def _suffix(suffix: str) -> tuple[int, int, Family]:
    """``(factor, power of ten, family)``."""
    if suffix in _DECIMAL:
        return 1, _DECIMAL[suffix], "decimal"
    if suffix in _BINARY:
        return _BINARY[suffix], 0, "binary"
    exponent = _EXPONENT.fullmatch(suffix)
    if exponent is None:
        raise QuantityError(SUFFIX_PROBLEM)
    return 1, max(-_LARGEST_EXPONENT, min(int(exponent[1]), _LARGEST_EXPONENT)), "exponent"


def _scaled(number: int, exponent: int) -> int:
    """``number`` times ten to the ``exponent``, rounded up."""
    return number * 10**exponent if exponent >= 0 else _divide_up(number, 10**-exponent)


def _divide_up(number: int, by: int) -> int:
    """Rounded away from zero, as upstream does."""
    return -(-number // by) if number >= 0 else number // by


def _binary(value: int) -> str:
    suffix = ""
    for name, factor in _BINARY.items():
        if value % factor:
            break
        suffix = name
    return f"{value // _BINARY.get(suffix, 1)}{suffix}"


def _decimal(nanos: int, family: Family) -> str:
    exponent = -9
    while exponent < 18 and nanos % 1000 == 0:
        nanos //= 1000
        exponent += 3
    if family == "exponent":
        return f"{nanos}e{exponent}" if exponent else str(nanos)
    return f"{nanos}{_DECIMAL_SUFFIX[exponent]}"
