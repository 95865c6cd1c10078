"""One line per event: time, level, a constant text, then key=value. Success at rest is silent."""

from __future__ import annotations

import sys
from contextlib import suppress
from typing import TextIO

from edgek.host import wallclock

LEVELS = ("debug", "info", "warning", "error")


class _Settings:
    level = 1  # index into LEVELS
    out: TextIO | None = None  # None: standard error, looked up at each line so that tests and daemons can replace it


def configure(level: str, out: TextIO | None = None) -> None:
    """``level`` is one of LEVELS. Raises ValueError for another."""
    _Settings.level = LEVELS.index(level)
    _Settings.out = out


def debug(text: str, **values: object) -> None:
    _write(0, text, values)


def info(text: str, **values: object) -> None:
    _write(1, text, values)


def warning(text: str, **values: object) -> None:
    _write(2, text, values)


def error(text: str, **values: object) -> None:
    _write(3, text, values)


def _write(level: int, text: str, values: dict[str, object]) -> None:
    if level < _Settings.level:
        return
    pairs = "".join(f" {key}={_quoted(value)}" for key, value in values.items())
    with suppress(OSError):  # a full disk or a closed terminal must not stop the node that reports it
        print(f"{wallclock.now_rfc3339()} {LEVELS[level]} {text}{pairs}", file=_Settings.out or sys.stderr, flush=True)


def _quoted(value: object) -> str:
    text = str(value).replace("\n", "\\n")
    return f'"{text}"' if not text or " " in text or '"' in text else text
