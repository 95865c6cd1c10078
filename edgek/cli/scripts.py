"""The scripts that install and uninstall, as commands: they must work without edgek, so what they do is theirs."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from edgek.cli import options
from edgek.host import bundled
from edgek.model.errors import UsageError

INSTALLED = Path("/usr/local/lib/edgek")  # where install.sh keeps them


def become(name: str, arguments: Sequence[str], what: str, environment: Mapping[str, str] | None = None) -> int:
    """The script of this name takes our place."""
    options.need_root(what)
    places = [folder / name for folder in (bundled.share(), INSTALLED) if folder]
    script = next((place for place in places if place.exists()), None)
    if script is None:
        raise UsageError(f"{what}: there is no {INSTALLED / name}; in a checkout say packaging/{name}")
    os.execve("/bin/sh", ["sh", str(script), *arguments], {**os.environ, **(environment or {})})
