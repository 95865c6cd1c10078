"""Answers from elsewhere, remembered for as long as they say, within bounds."""

from __future__ import annotations

import struct
from collections import OrderedDict

import attrs
import trio

from edgek.dns import wire
from edgek.dns.wire import Answer, Query, Question

ENTRIES = 2048  # some 500 KB
MOST_S = 300
NEGATIVE_S = 30
FAILED_S = 2  # a server that fails is not asked for the same again at once


@attrs.frozen
class _Entry:
    answer: Answer
    expires: float
    ttls: tuple[int, ...]  # where the TTLs stand in the body


class Cache:
    def __init__(self) -> None:
        self._entries: OrderedDict[tuple[str, int], _Entry] = OrderedDict()

    def lookup(self, query: Query) -> Answer | None:
        key = (query.question.name, query.question.type)
        entry = self._entries.get(key)
        if entry is None:
            return None
        left = int(entry.expires - trio.current_time())
        if left < 0:
            del self._entries[key]
            return None
        body = bytearray(entry.answer.body)
        for at in entry.ttls:
            struct.pack_into(">I", body, at, left)
        return attrs.evolve(entry.answer, body=bytes(body))

    async def resolve(self, query: Query) -> Answer | None:
        return None

    def put(self, question: Question, message: bytes, answer: Answer) -> None:
        """Remember ``answer``, which came as ``message``. Raises ``wire.BadMessage`` when its records cannot be read."""
        start = wire.HEADER + len(question.wire)
        offsets = wire.ttl_offsets(message)
        lowest = min((int.from_bytes(message[at : at + 4]) for at in offsets), default=NEGATIVE_S)
        if answer.rcode not in (wire.NOERROR, wire.NXDOMAIN):
            seconds = FAILED_S
        elif answer.answers:
            seconds = min(lowest, MOST_S)
        else:
            seconds = min(lowest, NEGATIVE_S)
        key = (question.name, question.type)
        self._entries[key] = _Entry(answer, trio.current_time() + seconds, tuple(at - start for at in offsets))
        self._entries.move_to_end(key)
        while len(self._entries) > ENTRIES:
            self._entries.popitem(last=False)
