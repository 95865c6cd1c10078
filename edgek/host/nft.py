"""libnftables by way of ctypes: the only module to know it.

A program of commands is one transaction: all of it happens or nothing. Changing one element takes 0.2 ms this way; the ``nft`` program needs 10 ms.
The library is GPL-2: a packed edgek will have to keep it in a process of its own, or speak netlink here instead.
"""

from __future__ import annotations

import ctypes
import ctypes.util

LIBRARY = "libnftables.so.1"
LARGE_BYTES = 1 << 18  # of a program. The library frees what it took for one in pieces that the allocator would keep: 65 MB for 10,000 Services


class NftError(Exception):
    """The kernel or the library refused a program; the message is the library's."""


class Nft:
    """One context. Calls block, and must not overlap: run them in a Worker with one thread. Raises OSError without the library."""

    def __init__(self) -> None:
        library = ctypes.CDLL(LIBRARY)  # releases the interpreter's lock during calls
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

    def run(self, program: str) -> str:
        """Carry a program out in the network namespace of the calling thread; what it prints. Raises NftError."""
        failed = self._library.nft_run_cmd_from_buffer(self._context, program.encode())
        output = self._library.nft_ctx_get_output_buffer(self._context) or b""
        problem = self._library.nft_ctx_get_error_buffer(self._context) or b""
        if len(program) > LARGE_BYTES:
            _give_back_memory()
        if failed:
            raise NftError(problem.decode(errors="replace").strip())
        return bytes(output).decode()

    def close(self) -> None:
        """May be called twice."""
        if self._context:
            self._library.nft_ctx_free(self._context)
            self._context = None


def _give_back_memory() -> None:
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc's; others give back by themselves
    if trim is not None:
        trim(0)
