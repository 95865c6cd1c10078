"""Begin again, as a new program in this process, once keys have been made.

What making them loads, 12 MB of a server and 19 MB of an agent, is given back in no other way, and a board may run for months.
It happens at the first start and in the rare ones that renew a certificate, once at most.
"""

from __future__ import annotations

import os
import sys
from typing import NoReturn

from edgek.host import process

HEAVY = "cryptography"
DONE = "EDGEK_BEGUN_ANEW"  # in the environment: not a second time


class BeginAnew(BaseException):
    """All services are to stop, and this program is to begin again. Not an Exception: nothing has failed."""


def lighten() -> None:
    """For a moment when everything is on the disk and nothing has started yet that others see. Raises BeginAnew."""
    if HEAVY in sys.modules and DONE not in os.environ:
        raise BeginAnew


def begin(argv: list[str]) -> NoReturn:
    os.execve(argv[0], argv, {**process.our_environment(), DONE: "1"})
