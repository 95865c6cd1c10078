"""What is said over a stream of the link to the API and by it, made small: a request or an answer is one message, an event of a watch another.

A message is a head (JSON), a line break, and a body; one that follows another on its stream is a body alone. It travels as its length in four bytes
and its bytes, deflated where that is shorter: with a dictionary of what such messages are full of, a renewed Lease is 30 bytes instead of 340.

Each message is deflated for itself, never along with others: who could mix words of his own with somebody's secrets, and see how long the mixture
is on the wire, would learn them by and by. It also lets an event be deflated once for all who watch.
"""

from __future__ import annotations

import struct
import zlib

import orjson
import trio

from edgek.client.link import Stream
from edgek.client.link_calls import BrokenOff, Head, receive_exactly
from edgek.client.link_words import WORDS

LENGTH = struct.Struct(">I")
DEFLATED = 1 << 31
LEVEL, WINDOW_BITS, MEMORY = 3, -15, 5  # the memory is what makes it quick: 3 us for a Lease, with the default's 256 KB it takes 25
SMALL = 48  # bytes that are not worth a try
PIECE = 128 * 1024  # bytes: a long list lets others have their turn after so many
REQUEST_MOST = 4 << 20  # bytes of what a node may ask: an object's 3 MiB, and a head
ANSWER_MOST = 1 << 30  # bytes: a node believes its server, and a list is as long as it is


def packed(raw: bytes) -> bytes:
    """One message as it travels. For what is short; see ``send`` for what may be long."""
    if len(raw) > SMALL:
        press = _press()
        small = press.compress(raw) + press.flush()
        if len(small) < len(raw):
            return LENGTH.pack(len(small) | DEFLATED) + small
    return LENGTH.pack(len(raw)) + raw


async def send(stream: Stream, head: Head, body: bytes = b"", *, last: bool = False) -> None:
    """Raises GONE."""
    raw = orjson.dumps(head) + b"\n" + body
    await stream.send(packed(raw) if len(raw) <= PIECE else await _packed_by_turns(raw), last=last)


async def receive(stream: Stream, most: int = ANSWER_MOST) -> tuple[Head, bytes]:
    """The first message of a stream: its head and its body. Raises BrokenOff, GONE."""
    raw = await receive_more(stream, most)
    if raw is None:
        raise BrokenOff("the stream ended too early")
    first, _, body = raw.partition(b"\n")
    try:
        head: Head = orjson.loads(first)
    except orjson.JSONDecodeError as exc:
        raise BrokenOff(f"a head that cannot be read: {exc}") from None
    if not isinstance(head, dict):
        raise BrokenOff("a head that is none")
    return head, body


async def receive_more(stream: Stream, most: int = ANSWER_MOST) -> bytes | None:
    """The next message; None at the end of the stream. Raises BrokenOff, GONE."""
    first = await stream.receive_some(LENGTH.size)
    if not first:
        return None
    size = LENGTH.unpack(first + await receive_exactly(stream, LENGTH.size - len(first)))[0]
    deflated, size = size & DEFLATED, size & ~DEFLATED
    if size > most:
        raise BrokenOff(f"a message of {size} bytes")
    raw = await receive_exactly(stream, size)
    return await _inflated(raw, most) if deflated else raw


def _press() -> zlib._Compress:
    return zlib.compressobj(LEVEL, zlib.DEFLATED, WINDOW_BITS, MEMORY, zlib.Z_DEFAULT_STRATEGY, WORDS)


async def _packed_by_turns(raw: bytes) -> bytes:
    press, small = _press(), bytearray()
    for at in range(0, len(raw), PIECE):
        small += press.compress(raw[at : at + PIECE])
        await trio.lowlevel.checkpoint()
    small += press.flush()
    return LENGTH.pack(len(small) | DEFLATED) + small if len(small) < len(raw) else LENGTH.pack(len(raw)) + raw


async def _inflated(small: bytes, most: int) -> bytes:
    """Raises BrokenOff, also for a short message that would become an endless one."""
    found, spread = bytearray(), zlib.decompressobj(WINDOW_BITS, WORDS)
    try:
        while not spread.eof:
            piece = spread.decompress(small, PIECE)
            small = spread.unconsumed_tail
            found += piece
            if len(found) > most or (not piece and not small and not spread.eof):
                raise BrokenOff("a message that is too long, or cut off")
            if small:
                await trio.lowlevel.checkpoint()
    except zlib.error as exc:
        raise BrokenOff(f"a message that cannot be read: {exc}") from None
    return bytes(found)
