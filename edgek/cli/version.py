"""``edgek version``: ours, and the API level we speak."""

from __future__ import annotations

import platform
from collections.abc import Sequence

from edgek import __version__


def main(arguments: Sequence[str]) -> int:
    print(f"edgek {__version__} (Kubernetes v1.36, Python {platform.python_version()}, {platform.machine()})")
    return 0
