"""A thread with mounts of its own.

What is mounted in there is seen by nobody else, so that nobody walks into it (a backup, an ``rm -r`` of our folders), and it goes with the block, or
with the process however that ends.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager

from edgek.host.mount import MS_REC, MS_SLAVE

CLONE_NEWNS = 0x20000
OWN = "/proc/thread-self/ns/mnt"


@contextmanager
def private_mounts() -> Iterator[None]:
    """For the calling thread and the programs it runs, as long as the block lasts. Must not be the event loop's. Raises OSError.

    What is unmounted elsewhere goes here, too (where the machine's mounts are shared, as systemd has them).
    """
    libc = ctypes.CDLL(None, use_errno=True)
    home, folder = os.open(OWN, os.O_RDONLY | os.O_CLOEXEC), os.open(".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        _check(libc.unshare(CLONE_NEWNS), "unshare mounts")
        try:
            _check(libc.mount(b"none", b"/", None, ctypes.c_ulong(MS_REC | MS_SLAVE), None), "keep mounts to ourselves")
            yield
        finally:
            _check(libc.setns(home, CLONE_NEWNS), "return to the machine's mounts")
            os.fchdir(folder)
    finally:
        os.close(home)
        os.close(folder)


def _check(done: int, what: str) -> None:
    if done != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{what}: {os.strerror(code)}")
