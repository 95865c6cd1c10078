"""What a packed file brings along: programs in ``bin`` beside the frozen ``edgek``. In a checkout the machine's own are used."""

from __future__ import annotations

import os
import sys
from pathlib import Path

LOADER = "_EDGEK_LOADER"  # set by packaging/onefile/launch.c
LIBRARY_PATH = "LD_LIBRARY_PATH"


def folder() -> Path | None:
    """``bin`` of the unpacked tree; None when this is no packed edgek."""
    return Path(sys.executable).resolve().parent / "bin" if getattr(sys, "frozen", False) else None


def program(name: str) -> Path | None:
    """Where the bundled program of this name lies; None where none was bundled."""
    place = folder()
    found = place / name if place else None
    return found if found and found.exists() else None


def share() -> Path | None:
    """The scripts that install and uninstall; None when this is no packed edgek."""
    place = folder()
    return place.parent / "share" if place else None


def images() -> Path | None:
    """Images that came along; None where there are none."""
    place = folder()
    found = place.parent / "images" if place else None
    return found if found and found.exists() else None


def loader() -> list[str]:
    """What must stand before the command line of a program of ours that is linked to glibc; empty where the machine's own glibc will do.

    The launcher decides that: where it does not, it started us so, too.
    """
    program = os.environ.get(LOADER, "")
    libraries = Path(program).parent
    return ["/usr/bin/env", f"{LIBRARY_PATH}={libraries}:{libraries.parent / '_internal'}", program] if program else []


def go_first() -> None:
    """Programs that came along are found before the machine's own: they were tested together."""
    place = folder()
    if place is not None:
        _forget_library_path()
        os.environ["PATH"] = os.pathsep.join(filter(None, (str(place), os.environ.get("PATH", ""))))


def _forget_library_path() -> None:
    """Ours are loaded, and the machine's own programs must not meet a glibc that is not theirs. ``loader`` says it again to those of ours."""
    if LOADER in os.environ:
        os.environ.pop(LIBRARY_PATH, None)
        os.environ.pop(f"{LIBRARY_PATH}_ORIG", None)
