"""Messages of the link, made small and back, over a link that is broken by nobody and one that is."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from typing import Any

import orjson
import pytest
import trio

from edgek.client import link_messages
from edgek.client.link_calls import BrokenOff
from edgek.client.link_words import WORDS

LEASE = {"spec": {"holderIdentity": "board-7", "leaseDurationSeconds": 40, "renewTime": "2026-11-21T04:00:00.123456Z"}}
RENEWAL = {
    "method": "PATCH",
    "path": "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/board-7",
    "query": [],
    "headers": {"user-agent": "kubelet", "accept": "application/json", "prefer": "return=minimal", "content-type": "application/merge-patch+json"},
}


class Pipe:
    """One direction of a stream, as ``client.link.Stream`` has it, without a link below."""

    def __init__(self) -> None:
        self.sent = bytearray()
        self.ended = False

    async def send(self, data: bytes, *, last: bool = False) -> None:
        self.sent += data
        self.ended = last

    async def receive_some(self, most: int = 65536) -> bytes:
        await trio.lowlevel.checkpoint()
        found, self.sent = bytes(self.sent[:most]), self.sent[most:]
        return found

    def push_back(self, data: bytes) -> None:
        self.sent[:0] = data


def stream(pipe: Pipe) -> Any:
    return pipe


async def passed_on(head: dict[str, Any], body: bytes) -> tuple[int, dict[str, Any], bytes]:
    """Bytes on the wire, and what came out."""
    pipe = Pipe()
    await link_messages.send(stream(pipe), head, body, last=True)
    size = len(pipe.sent)
    return size, *await link_messages.receive(stream(pipe))


@pytest.mark.parametrize("body", [b"", b"x", b"\n\n", bytes(range(256)) * 3, b"same again " * 100_000])
async def test_what_goes_in_comes_out(body: bytes) -> None:
    _, head, found = await passed_on({"status": 200}, body)
    assert (head, found) == ({"status": 200}, body)


async def test_the_renewal_of_a_lease_is_small() -> None:
    size, head, body = await passed_on(RENEWAL, orjson.dumps(LEASE))
    assert (head, orjson.loads(body)) == (RENEWAL, LEASE)
    assert size < 80
    assert len(orjson.dumps(RENEWAL)) + len(orjson.dumps(LEASE)) > 300


def test_what_would_grow_travels_as_it_is() -> None:
    noise = bytes((number * 7919 + (number * number >> 3)) & 255 for number in range(200))
    assert link_messages.packed(noise) == struct.pack(">I", len(noise)) + noise


def test_no_message_helps_to_guess_another() -> None:
    """Deflated each for itself: one that repeats a secret of the message before is no shorter for it."""
    secret = b'{"token":"eyJhbGciOiJFUzI1NiIsImtpZCI6InNlY3JldCJ9.abcdefghijklmnopqrstuvwxyz0123456789"}'
    alone = link_messages.packed(secret)
    link_messages.packed(secret)
    assert link_messages.packed(secret) == alone


async def test_events_follow_the_first_message() -> None:
    pipe = Pipe()
    await link_messages.send(stream(pipe), {"status": 200})
    for number in range(3):
        await pipe.send(link_messages.packed(b'{"type":"MODIFIED","number":%d}\n' % number * 5))
    assert (await link_messages.receive(stream(pipe)))[0] == {"status": 200}
    assert [await link_messages.receive_more(stream(pipe)) for _ in range(4)] == [
        *(b'{"type":"MODIFIED","number":%d}\n' % number * 5 for number in range(3)),
        None,
    ]


def bomb() -> bytes:
    press = zlib.compressobj(9, zlib.DEFLATED, -15, 9, zlib.Z_DEFAULT_STRATEGY, WORDS)
    small = press.compress(bytes(100 << 20)) + press.flush()
    return struct.pack(">I", len(small) | link_messages.DEFLATED) + small


@pytest.mark.parametrize(
    ("wire", "said"),
    [
        (lambda: struct.pack(">I", 100 << 20), "a message of"),
        (bomb, "too long"),
        (lambda: struct.pack(">I", 5 | link_messages.DEFLATED) + b"\xff\xff\xff\xff\xff", "cannot be read"),
        (lambda: struct.pack(">I", 12) + b"no head at a", "a head that cannot be read"),
        (lambda: struct.pack(">I", 3) + b"[]\n", "a head that is none"),
        (lambda: struct.pack(">I", 50) + b"cut", "ended too early"),
        (lambda: b"", "ended too early"),
    ],
)
async def test_what_is_no_message_ends_the_stream_by_name(wire: Callable[[], bytes], said: str) -> None:
    pipe = Pipe()
    await pipe.send(wire())
    with pytest.raises(BrokenOff, match=said):
        await link_messages.receive(stream(pipe), link_messages.REQUEST_MOST)
