"""nftables by way of libnftables: the only module to know it.

A program of commands is one transaction: all of it happens or nothing. Changing one element takes 0.2 ms this way; the ``nft`` program needs 10 ms.
In a checkout the library is called in this process. It is GPL-2, and not to be linked with us in a file that is given away: a packed edgek talks by a
pipe to a small program that is (``packaging/onefile/nft.c``).
"""

from __future__ import annotations

import ctypes
import socket
import struct
import subprocess
from pathlib import Path
from typing import Protocol

from edgek.host import bundled, process

LIBRARY = "libnftables.so.1"
HELPER = "edgek-nft"
LARGE_BYTES = 1 << 18  # of a program. The library frees what it took for one in pieces that the allocator would keep: 65 MB for 10,000 Services
_NETLINK_NETFILTER = 12  # from linux/netlink.h
_LENGTH = struct.Struct("<I")
_ANSWER = struct.Struct("<III")  # failed, and the lengths of output and problem


class NftError(Exception):
    """The kernel or the library refused a program; the message is the library's."""


class _Way(Protocol):
    def run(self, program: bytes) -> tuple[bool, bytes, bytes]:
        """Whether it failed, what it printed, what the problem was."""
        ...

    def rest(self) -> None: ...

    def close(self) -> None: ...


class Nft:
    """Acts in the network namespace of the thread that makes it, for ever. Calls block, and must not overlap: run them in a Worker with one thread.

    ``helper`` names the program that speaks for us; by default that of a packed file. Raises OSError where neither it nor the library is there, and
    NftError where the kernel has none of it.
    """

    def __init__(self, helper: Path | None = None) -> None:
        helper = helper or bundled.program(HELPER)
        self._way: _Way = _Helper(helper) if helper else _Library()

    def run(self, program: str) -> str:
        """Carry a program out; what it prints. Raises NftError."""
        failed, output, problem = self._way.run(program.encode())
        if failed:
            raise NftError(problem.decode(errors="replace").strip())
        return output.decode()

    def rest(self) -> None:
        """Nothing is wanted for a while: the helper's memory is given back. The next program takes 5 ms longer, and runs where that thread is."""
        self._way.rest()

    def close(self) -> None:
        """May be called twice."""
        self._way.close()


class _Library:
    def __init__(self) -> None:
        library = ctypes.CDLL(LIBRARY)  # releases the interpreter's lock during calls
        _find_netfilter()
        library.nft_ctx_new.restype = ctypes.c_void_p
        library.nft_ctx_new.argtypes = (ctypes.c_uint32,)
        for name in ("nft_ctx_free", "nft_ctx_buffer_output", "nft_ctx_buffer_error", "nft_ctx_get_output_buffer", "nft_ctx_get_error_buffer"):
            getattr(library, name).argtypes = (ctypes.c_void_p,)
        library.nft_run_cmd_from_buffer.argtypes = (ctypes.c_void_p, ctypes.c_char_p)
        library.nft_ctx_get_output_buffer.restype = ctypes.c_char_p
        library.nft_ctx_get_error_buffer.restype = ctypes.c_char_p
        self._library = library
        self._context = library.nft_ctx_new(0)
        if not self._context:
            raise OSError("libnftables gave no context")
        library.nft_ctx_buffer_output(self._context)
        library.nft_ctx_buffer_error(self._context)

    def run(self, program: bytes) -> tuple[bool, bytes, bytes]:
        failed = self._library.nft_run_cmd_from_buffer(self._context, program)
        output = bytes(self._library.nft_ctx_get_output_buffer(self._context) or b"")
        problem = bytes(self._library.nft_ctx_get_error_buffer(self._context) or b"")
        if len(program) > LARGE_BYTES:
            _give_back_memory()
        return bool(failed), output, problem

    def rest(self) -> None:
        """A library takes next to nothing at rest."""

    def close(self) -> None:
        if self._context:
            self._library.nft_ctx_free(self._context)
            self._context = None


def _find_netfilter() -> None:
    """The library ends the whole process where the kernel has none."""
    try:
        socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_NETFILTER).close()
    except OSError as error:
        raise NftError(f"the kernel knows no netfilter: {error.strerror}") from None


class _Helper:
    """One process, begun where we are. It gives memory back by itself."""

    def __init__(self, program: Path) -> None:
        self._program = program
        self._command: list[str | Path] = [*bundled.loader(), program]
        self._child: subprocess.Popen[bytes] | None = process.start_talking(self._command)

    def run(self, program: bytes) -> tuple[bool, bytes, bytes]:
        self._child = self._child or process.start_talking(self._command)
        try:
            return _ask(self._child, program)
        except (OSError, EOFError):
            code = self._child.wait()
            self._child = None
            return True, b"", f"{self._program} ended with code {code}; it is started again".encode()

    def rest(self) -> None:
        if self._child:
            self._child.communicate()  # closes its input: it ends
            self._child = None

    close = rest


def _ask(child: subprocess.Popen[bytes], program: bytes) -> tuple[bool, bytes, bytes]:
    assert child.stdin is not None
    assert child.stdout is not None
    child.stdin.write(_LENGTH.pack(len(program)) + program)
    child.stdin.flush()
    head = child.stdout.read(_ANSWER.size)
    if len(head) < _ANSWER.size:
        raise EOFError
    failed, printed, problem = _ANSWER.unpack(head)
    return bool(failed), child.stdout.read(printed), child.stdout.read(problem)


def _give_back_memory() -> None:
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc's; others give back by themselves
    if trim is not None:
        trim(0)
