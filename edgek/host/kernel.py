"""Which kernel this is, for the few things that older ones do differently."""

from __future__ import annotations

import os


def version(release: str = "") -> tuple[int, int]:
    """``5.10.0-rpi7`` is (5, 10); what cannot be read is taken to be new."""
    major, _, rest = (release or os.uname().release).partition(".")
    minor = rest.partition(".")[0].partition("-")[0]
    return (int(major), int(minor)) if major.isdigit() and minor.isdigit() else (99, 0)
