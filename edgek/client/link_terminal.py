"""The messages of an exec or attach over a stream of the link: a byte for what it is, its length, its bytes. Lengths are kept small by both ends."""

from __future__ import annotations

import struct

import trio

from edgek.client.link import CHUNK, Stream
from edgek.client.link_calls import BrokenOff, receive_exactly

STDIN, STDOUT, STDERR, EXIT, RESIZE = range(5)  # an empty STDIN is its end
MESSAGE = struct.Struct(">BI")
MOST = 1024 * 1024  # bytes


async def send_message(stream: Stream, lock: trio.Lock, kind: int, data: bytes) -> None:
    """Several tasks may write, under one lock. Raises GONE."""
    pieces = [data[at : at + CHUNK] for at in range(0, len(data), CHUNK)] if kind in (STDIN, STDOUT, STDERR) and data else [data]
    async with lock:
        for piece in pieces:
            await stream.send(MESSAGE.pack(kind, len(piece)) + piece)


async def receive_message(stream: Stream) -> tuple[int, bytes]:
    """Raises GONE."""
    kind, size = MESSAGE.unpack(await receive_exactly(stream, MESSAGE.size))
    if size > MOST:
        raise BrokenOff(f"a message of {size} bytes")
    return kind, await receive_exactly(stream, size)
