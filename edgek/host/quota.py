"""Project quotas: a limit for everything below one directory, where the file system keeps such accounts (ext4 and XFS mounted with ``prjquota``).

A directory is given a project number that its content inherits, and the number a limit. See quotactl_fd(2) and the kernel's linux/fs.h.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import struct
from pathlib import Path

_GET_ATTRIBUTES, _SET_ATTRIBUTES = 0x801C581F, 0x401C5820  # FS_IOC_FSGETXATTR, FS_IOC_FSSETXATTR
_ATTRIBUTES = struct.Struct("=5I8x")  # xflags, extsize, nextents, projid, cowextsize
_INHERIT = 0x200  # FS_XFLAG_PROJINHERIT

_QUOTACTL_FD = 443  # the number of the system call, on every architecture
_GET, _SET, _OF_PROJECTS = 0x800007, 0x800008, 2
_LIMITS = struct.Struct("=8QI4x")  # block limits hard and soft, space in use, the same of inodes, two times, which of them are meant
_BLOCK_LIMITS = 1
_BLOCK_BYTES = 1024


class ProjectQuota:
    """Raises OSError."""

    def __init__(self) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)

    def works_on(self, path: Path) -> bool:
        """Whether the file system of a directory counts by project now."""
        try:
            self._control(path, _GET, 0, bytes(_LIMITS.size))
        except OSError:
            return False
        return True

    def limit(self, path: Path, project: int, limit_bytes: int) -> None:
        """Make ``path``, and whatever will be made below it, count for ``project``, and limit that. May be called again, with another limit too."""
        folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            flags, extent, extents, _, cow = _ATTRIBUTES.unpack(fcntl.ioctl(folder, _GET_ATTRIBUTES, bytes(_ATTRIBUTES.size)))
            fcntl.ioctl(folder, _SET_ATTRIBUTES, _ATTRIBUTES.pack(flags | _INHERIT, extent, extents, project, cow))
        finally:
            os.close(folder)
        blocks = -(-limit_bytes // _BLOCK_BYTES)
        self._control(path, _SET, project, _LIMITS.pack(blocks, blocks, 0, 0, 0, 0, 0, 0, _BLOCK_LIMITS))

    def _control(self, path: Path, command: int, project: int, values: bytes) -> bytes:
        buffer = ctypes.create_string_buffer(values, len(values))
        folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            done = self._libc.syscall(ctypes.c_long(_QUOTACTL_FD), folder, ctypes.c_uint(command << 8 | _OF_PROJECTS), ctypes.c_uint(project), buffer)
        finally:
            os.close(folder)
        if done != 0:
            code = ctypes.get_errno()
            raise OSError(code, f"project quota of {path}: {os.strerror(code)}")
        return buffer.raw
