"""A file that only a passphrase opens, and that shows any change: scrypt (RFC 7914) makes the key, AES-256-GCM seals piece after piece.

A magic line, 16 bytes of salt, then pieces of 64 KiB, each with its 16 bytes of tag. A piece's nonce is its number and whether it is the last, so
none can be moved, left out or cut off. Opening takes 32 MiB of memory and, on a small board, a second.
"""

from __future__ import annotations

import os
from typing import BinaryIO, Protocol

from edgek.model.errors import EdgekError

MAGIC = b"edgek-sealed-1\n\0"
PIECE_BYTES = 64 * 1024
_SALT_BYTES, _TAG_BYTES, _KEY_BYTES = 16, 16, 32
_COST = {"n": 1 << 15, "r": 8, "p": 1}  # 32 MiB


class CannotOpen(EdgekError):
    """Another passphrase sealed it, or it was changed."""


class _Cipher(Protocol):
    def encrypt(self, nonce: bytes, data: bytes, associated_data: bytes | None) -> bytes: ...
    def decrypt(self, nonce: bytes, data: bytes, associated_data: bytes | None) -> bytes: ...


class Writer:
    """Seals what is written to it. Without ``close`` nothing of it can be opened."""

    def __init__(self, file: BinaryIO, passphrase: str) -> None:
        salt = os.urandom(_SALT_BYTES)
        file.write(MAGIC + salt)
        self._file = file
        self._cipher = _cipher(passphrase, salt)
        self._number = 0
        self._waiting = bytearray()

    def write(self, data: bytes) -> int:
        self._waiting += data
        while len(self._waiting) > PIECE_BYTES:
            self._seal(bytes(self._waiting[:PIECE_BYTES]), last=False)
            del self._waiting[:PIECE_BYTES]
        return len(data)

    def close(self) -> None:
        self._seal(bytes(self._waiting), last=True)

    def _seal(self, piece: bytes, *, last: bool) -> None:
        self._file.write(self._cipher.encrypt(_nonce(self._number, last=last), piece, None))
        self._number += 1


class Reader:
    """Reads what a Writer sealed, from behind the magic line. Raises CannotOpen, at once for another passphrase."""

    def __init__(self, file: BinaryIO, passphrase: str) -> None:
        self._file = file
        self._cipher = _cipher(passphrase, file.read(_SALT_BYTES))
        self._number = 0
        self._next = self._read_piece()
        self._ready = self._open_next()

    def read(self, size: int = -1) -> bytes:
        while self._next and (size < 0 or len(self._ready) < size):
            self._ready += self._open_next()
        end = len(self._ready) if size < 0 else size
        found, self._ready = self._ready[:end], self._ready[end:]
        return found

    def _open_next(self) -> bytes:
        from cryptography.exceptions import InvalidTag

        piece, self._next = self._next, self._read_piece()
        try:
            opened = self._cipher.decrypt(_nonce(self._number, last=not self._next), piece, None)
        except (InvalidTag, ValueError):
            raise CannotOpen("another passphrase sealed it, or it was changed or cut off") from None
        self._number += 1
        return opened

    def _read_piece(self) -> bytes:
        return self._file.read(PIECE_BYTES + _TAG_BYTES)


def _cipher(passphrase: str, salt: bytes) -> _Cipher:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM
    from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

    return AESGCM(Scrypt(salt=salt, length=_KEY_BYTES, **_COST).derive(passphrase.encode()))


def _nonce(number: int, *, last: bool) -> bytes:
    return number.to_bytes(11, "big") + bytes([last])
