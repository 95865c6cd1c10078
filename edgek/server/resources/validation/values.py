"""Numbers, percentages, quantities and paths."""

from __future__ import annotations

from edgek.model.quantity import MILLI, Quantity, QuantityError, parse
from edgek.server.resources.validation import names
from edgek.server.resources.validation.fields import Errors, Path

AT_LEAST_0 = "must be greater than or equal to 0"
FILE_MODE = "must be a number between 0 and 0777 (octal), both inclusive"
MAX_INT32 = 2**31 - 1


def quantity(text: str | None) -> Quantity:
    """A quantity that was decoded before; what could not be is zero here, since decoding has said so already."""
    try:
        return parse(str(text or "0"))
    except QuantityError:
        return Quantity(0)


def round_up_to_millis(amounts: dict[str, str] | None) -> None:
    """Upstream keeps no amount finer than a thousandth: ``1u`` becomes ``1m``, in place."""
    for name, amount in (amounts or {}).items():
        value = quantity(amount)
        if value.nanos % MILLI and amounts is not None:
            amounts[name] = str(Quantity(value.millis * MILLI, value.family))


def check_positive_int_or_percent(errors: Errors, at: Path, value: int | str | None) -> None:
    """``3`` or ``25%``, not below zero."""
    if isinstance(value, int):
        errors.non_negative(at, value)
    elif isinstance(value, str):
        errors.invalid_each(at, value, names.percent(value))


def check_at_most_100_percent(errors: Errors, at: Path, value: int | str | None) -> None:
    if isinstance(value, str) and not names.percent(value) and int(value[:-1]) > 100:
        errors.invalid(at, value, "must not be greater than 100%")


def int_or_percent_is_zero(value: int | str | None) -> bool:
    if isinstance(value, str):
        return not names.percent(value) and int(value[:-1]) == 0
    return not value


def check_file_mode(errors: Errors, at: Path, mode: int | None) -> None:
    if mode is not None and not 0 <= mode <= 0o777:
        errors.invalid(at, mode, FILE_MODE)


def check_no_backsteps(errors: Errors, at: Path, path: str) -> None:
    if ".." in path.split("/"):
        errors.invalid(at, path, "must not contain '..'")


def check_descending_path(errors: Errors, at: Path, path: str) -> None:
    """A relative path that does not climb."""
    if path.startswith("/"):
        errors.invalid(at, path, "must be a relative path")
    check_no_backsteps(errors, at, path)


def check_unreserved_path(errors: Errors, at: Path, path: str) -> None:
    """A descending path that does not begin with ``..data`` and the like, which kubelets use themselves."""
    check_descending_path(errors, at, path)
    if path.startswith("..") and not path.startswith("../"):
        errors.invalid(at, path, "must not start with '..'")


def check_in_range(errors: Errors, at: Path, value: int | None, least: int, most: int) -> None:
    if value is not None and not least <= value <= most:
        errors.invalid(at, value, f"must be between {least} and {most}, inclusive")
