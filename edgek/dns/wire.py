"""DNS messages as bytes (RFC 1035, EDNS by RFC 6891): only what a resolver for a cluster needs. Names are lower case, without the last dot."""

from __future__ import annotations

import ipaddress
import struct

import attrs

A, NS, CNAME, SOA, PTR, TXT, AAAA, SRV, OPT, ANY = 1, 2, 5, 6, 12, 16, 28, 33, 41, 255
IN = 1
NOERROR, FORMERR, SERVFAIL, NXDOMAIN, NOTIMP, REFUSED = 0, 1, 2, 3, 4, 5

HEADER = 12  # bytes
PLAIN_SIZE = 512  # the largest UDP answer to a client without EDNS
EDNS_SIZE = 1232  # the largest that crosses every path without fragments; what we offer
SAME_NAME = b"\xc0\x0c"  # a pointer to the question's name
OUR_OPT = b"\x00" + struct.pack(">HHIH", OPT, EDNS_SIZE, 0, 0)


class BadMessage(ValueError):
    """Not a DNS query that could be answered."""


@attrs.frozen
class Question:
    """``wire`` are its bytes as they were sent: case is echoed, for clients that randomise it."""

    name: str
    type: int
    wire: bytes


@attrs.frozen
class Answer:
    """The sections behind the question, ready to send, and how many records each holds."""

    rcode: int = NOERROR
    answers: int = 0
    authorities: int = 0
    additionals: int = 0
    body: bytes = b""
    authoritative: bool = True


@attrs.frozen
class Query:
    """``size`` is the largest UDP answer its sender takes; ``edns`` whether it sent an OPT record."""

    id: bytes
    recursion: int
    question: Question
    size: int
    edns: bool


def parse(message: bytes) -> Query:
    """Raises BadMessage for what is no query with exactly one question."""
    if len(message) < HEADER + 5 or message[2] & 0xF8 or message[4:6] != b"\0\1":
        raise BadMessage("not a standard query with one question")
    name, end = read_name(message, HEADER)
    if end + 4 > len(message):
        raise BadMessage("the question is cut off")
    question = Question(name, int.from_bytes(message[end : end + 2]), message[HEADER : end + 4])
    size, edns = _edns(message, end + 4)
    return Query(message[:2], message[2] & 1, question, size, edns)


def ask(name: str, type_: int) -> Query:
    """A query of our own. Raises BadMessage for what is no name."""
    question = Question(name, type_, write_name(name) + struct.pack(">HH", type_, IN))
    return Query(b"\0\0", 1, question, EDNS_SIZE, False)


def reply(query: Query, answer: Answer, limit: int) -> bytes:
    """The whole message; one that is longer than ``limit`` says so (TC) and carries no records."""
    opt = OUR_OPT if query.edns else b""
    first = 0x80 | (0x04 if answer.authoritative else 0) | query.recursion
    second = 0x80 | answer.rcode
    length = HEADER + len(query.question.wire) + len(answer.body) + len(opt)
    if length > limit:
        head = struct.pack(">BBHHHH", first | 0x02, second, 1, 0, 0, 1 if opt else 0)
        return b"".join((query.id, head, query.question.wire, opt))
    counts = (1, answer.answers, answer.authorities, answer.additionals + (1 if opt else 0))
    return b"".join((query.id, struct.pack(">BBHHHH", first, second, *counts), query.question.wire, answer.body, opt))


def refusal(message: bytes, rcode: int) -> bytes:
    """An answer to what could not be parsed: the header alone."""
    return message[:2] + bytes((0x80 | (message[2] & 0x79), rcode)) + bytes(8)


def read_name(message: bytes, at: int) -> tuple[str, int]:
    """The name at an offset and where it ends, compression followed. Raises BadMessage."""
    labels: list[str] = []
    end, hops = 0, 0
    while True:
        if at >= len(message):
            raise BadMessage("a name runs past the message")
        length = message[at]
        if length >= 0xC0:
            if at + 1 >= len(message) or hops > 16:
                raise BadMessage("a name's compression leads nowhere")
            end = end or at + 2
            at, hops = (length & 0x3F) << 8 | message[at + 1], hops + 1
            continue
        if length > 63:
            raise BadMessage("a label is longer than 63 bytes")
        if length == 0:
            return ".".join(labels), end or at + 1
        labels.append(message[at + 1 : at + 1 + length].decode("latin-1").lower())
        at += length + 1


def write_name(name: str) -> bytes:
    """Uncompressed. Raises BadMessage for a label that DNS cannot carry."""
    out = bytearray()
    for label in name.split(".") if name else ():
        raw = label.encode("latin-1", "replace")
        if not 0 < len(raw) < 64:
            raise BadMessage(f"{name!r} is no DNS name")
        out += bytes((len(raw),)) + raw
    return bytes(out) + b"\0"


def record(owner: bytes, type_: int, ttl_s: int, content: bytes) -> bytes:
    """``owner`` is a name in wire form, or SAME_NAME."""
    return owner + struct.pack(">HHIH", type_, IN, ttl_s, len(content)) + content


def address(text: str) -> bytes:
    return ipaddress.ip_address(text).packed


def srv(port: int, target: str, weight: int = 100) -> bytes:
    return struct.pack(">HHH", 0, weight, port) + write_name(target)


def soa(zone: str, serial: int, negative_ttl_s: int) -> bytes:
    names = write_name(f"ns.dns.{zone}") + write_name(f"hostmaster.{zone}")
    return names + struct.pack(">IIIII", serial, 7200, 1800, 86400, negative_ttl_s)


def skip_records(message: bytes, at: int, count: int) -> int:
    for _ in range(count):
        _, at = read_name(message, at)
        if at + 10 > len(message):
            raise BadMessage("a record is cut off")
        at += 10 + int.from_bytes(message[at + 8 : at + 10])
    return at


def ttl_offsets(message: bytes) -> list[int]:
    """Where the TTLs of all records stand (the OPT record's is none). Raises BadMessage."""
    questions, *counts = struct.unpack_from(">HHHH", message, 4)
    at = HEADER
    for _ in range(questions):
        _, at = read_name(message, at)
        at += 4
    found = []
    for _ in range(sum(counts)):
        _, at = read_name(message, at)
        if at + 10 > len(message):
            raise BadMessage("a record is cut off")
        if int.from_bytes(message[at : at + 2]) != OPT:
            found.append(at + 4)
        at += 10 + int.from_bytes(message[at + 8 : at + 10])
    return found


def contents(message: bytes, type_: int) -> list[bytes]:
    """The contents of the answer section's records of a type (addresses: others may be compressed). Raises BadMessage."""
    questions, answers = struct.unpack_from(">HH", message, 4)
    at = HEADER
    for _ in range(questions):
        _, at = read_name(message, at)
        at += 4
    found = []
    for _ in range(answers):
        _, at = read_name(message, at)
        length = int.from_bytes(message[at + 8 : at + 10])
        if int.from_bytes(message[at : at + 2]) == type_:
            found.append(message[at + 10 : at + 10 + length])
        at += 10 + length
    return found


def _edns(message: bytes, at: int) -> tuple[int, bool]:
    answers, authorities, additionals = struct.unpack_from(">HHH", message, 6)
    if not additionals:
        return PLAIN_SIZE, False
    at = skip_records(message, at, answers + authorities)
    for _ in range(additionals):
        _, end = read_name(message, at)
        if end + 10 > len(message):
            raise BadMessage("a record is cut off")
        if int.from_bytes(message[end : end + 2]) == OPT:
            return max(PLAIN_SIZE, min(int.from_bytes(message[end + 2 : end + 4]), EDNS_SIZE)), True
        at = skip_records(message, at, 1)
    return PLAIN_SIZE, False
