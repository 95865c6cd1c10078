"""SPDY/3.1 frames as values: bytes in, frames out, and the other way round. Nothing here waits or knows what a stream is for.

The specification: https://www.chromium.org/spdy/spdy-protocol/spdy-protocol-draft3-1. Old ``kubectl`` and controllers written in Go speak it; all
of them use the same library, which neither sends nor heeds window updates. So flow control is TCP's alone, here as there.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Mapping

import attrs

SYN_STREAM, SYN_REPLY, RST_STREAM, SETTINGS, PING, GOAWAY, HEADERS, WINDOW_UPDATE = 1, 2, 3, 4, 6, 7, 8, 9
FIN = 0x01
PROTOCOL_ERROR, INVALID_STREAM, REFUSED_STREAM, CANCEL = 1, 2, 3, 5
CONTROL_LIMIT = 256 * 1024  # bytes of a control frame
HEADERS_LIMIT = 256 * 1024  # bytes of headers once inflated: a small frame can hold a lot of zeros
DATA_BYTES = 32 * 1024  # of one frame that we send

_WORDS = (
    "options head post put delete trace accept accept-charset accept-encoding accept-language accept-ranges age allow authorization cache-control "
    "connection content-base content-encoding content-language content-length content-location content-md5 content-range content-type date etag "
    "expect expires from host if-match if-modified-since if-none-match if-range if-unmodified-since last-modified location max-forwards pragma "
    "proxy-authenticate proxy-authorization range referer retry-after server te trailer transfer-encoding upgrade user-agent vary via warning "
    "www-authenticate method get status"
)
_LATER_WORDS = ("200 OK", "version", "HTTP/1.1", "url", "public", "set-cookie", "keep-alive", "origin")
_TAIL = (
    "100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505203 Non-Authoritative Information204 No Content301 "
    "Moved Permanently400 Bad Request401 Unauthorized403 Forbidden404 Not Found500 Internal Server Error501 Not Implemented503 Service Unavailable"
    "Jan Feb Mar Apr May Jun Jul Aug Sept Oct Nov Dec 00:00:00 Mon, Tue, Wed, Thu, Fri, Sat, Sun, GMTchunked,text/html,image/png,image/jpg,"
    "image/gif,application/xml,application/xhtml+xml,text/plain,text/javascript,publicprivatemax-age=gzip,deflate,sdchcharset=utf-8"
    "charset=iso-8859-1,utf-,*,enq=0."
)
# What both sides' compression has "seen" before the first header: section 2.6.10.1.
DICTIONARY = b"".join(struct.pack(">I", len(word)) + word.encode() for word in (*_WORDS.split(), *_LATER_WORDS)) + _TAIL.encode()


class Broken(Exception):
    """The other side does not speak SPDY/3.1; nothing more can be understood."""


@attrs.frozen
class SynStream:
    """Opens a stream. Header names are lower case; several values of one stand apart by NUL."""

    stream: int
    headers: Mapping[str, str]
    fin: bool = False


@attrs.frozen
class SynReply:
    stream: int
    headers: Mapping[str, str] = attrs.field(factory=dict)
    fin: bool = False


@attrs.frozen
class Headers:
    stream: int
    headers: Mapping[str, str]
    fin: bool = False


@attrs.frozen
class Data:
    """A part of a data frame; ``fin`` with the last part of the last frame."""

    stream: int
    payload: bytes
    fin: bool = False


@attrs.frozen
class Reset:
    stream: int
    status: int


@attrs.frozen
class Ping:
    id: int


@attrs.frozen
class GoAway:
    last: int
    status: int = 0


Frame = SynStream | SynReply | Headers | Data | Reset | Ping | GoAway


class Encoder:
    """Frames to bytes. The headers of a connection share one compression: encode in the order in which is sent."""

    def __init__(self) -> None:
        self._deflate = zlib.compressobj(zdict=DICTIONARY)

    def encode(self, frame: Frame) -> bytes:
        match frame:
            case Data(stream, payload, fin):
                return struct.pack(">II", stream, _flags(fin) | len(payload)) + payload
            case SynStream(stream, headers, fin):
                return _control(SYN_STREAM, struct.pack(">IIH", stream, 0, 0) + self._block(headers), fin)
            case SynReply(stream, headers, fin):
                return _control(SYN_REPLY, struct.pack(">I", stream) + self._block(headers), fin)
            case Headers(stream, headers, fin):
                return _control(HEADERS, struct.pack(">I", stream) + self._block(headers), fin)
            case Reset(stream, status):
                return _control(RST_STREAM, struct.pack(">II", stream, status))
            case Ping(number):
                return _control(PING, struct.pack(">I", number))
            case GoAway(last, status):
                return _control(GOAWAY, struct.pack(">II", last, status))

    def _block(self, headers: Mapping[str, str]) -> bytes:
        plain = struct.pack(">I", len(headers))
        for name, value in headers.items():
            for text in (name.lower().encode("latin-1"), value.encode("latin-1")):
                plain += struct.pack(">I", len(text)) + text
        return self._deflate.compress(plain) + self._deflate.flush(zlib.Z_SYNC_FLUSH)


class Decoder:
    """Bytes to frames, however the network cut them."""

    def __init__(self) -> None:
        self._inflate = zlib.decompressobj(zdict=DICTIONARY)
        self._buffer = bytearray()
        self._stream = 0  # of the data frame whose payload is coming
        self._left = 0
        self._fin = False

    def feed(self, data: bytes) -> Iterator[Frame]:
        """The frames that are there now: to be taken all, before more is fed. Raises Broken."""
        self._buffer += data
        while True:
            if self._left:
                if not self._buffer:
                    return
                yield self._payload()
            elif len(self._buffer) < 8:
                return
            else:
                first, second = struct.unpack_from(">II", self._buffer)
                length = second & 0xFFFFFF
                fin = bool(second >> 24 & FIN)
                if not first >> 31:
                    del self._buffer[:8]
                    self._stream, self._left, self._fin = first, length, fin
                    if not length:
                        yield Data(first, b"", fin)
                    continue
                if first >> 16 & 0x7FFF != 3 or length > CONTROL_LIMIT:
                    raise Broken(f"a frame that begins with {first:#x} and has {length} bytes")
                if len(self._buffer) < 8 + length:
                    return
                body = bytes(self._buffer[8 : 8 + length])
                del self._buffer[: 8 + length]
                frame = self._control(first & 0xFFFF, body, fin)
                if frame is not None:
                    yield frame

    def _payload(self) -> Data:
        part = bytes(self._buffer[: self._left])
        del self._buffer[: len(part)]
        self._left -= len(part)
        return Data(self._stream, part, self._fin and not self._left)

    def _control(self, kind: int, body: bytes, fin: bool) -> Frame | None:
        """None for what means nothing to us: settings, window updates, kinds that are unknown."""
        try:
            match kind:
                case 1:
                    return SynStream(_number(body), self._headers(body[10:]), fin)
                case 2:
                    return SynReply(_number(body), self._headers(body[4:]), fin)
                case 8:
                    return Headers(_number(body), self._headers(body[4:]), fin)
                case 3:
                    return Reset(_number(body), _number(body[4:]))
                case 6:
                    return Ping(_number(body, 0xFFFFFFFF))
                case 7:
                    return GoAway(_number(body), _number(body[4:]))
                case _:
                    return None
        except (struct.error, zlib.error) as exc:
            raise Broken(f"a frame of kind {kind}: {exc}") from None

    def _headers(self, block: bytes) -> dict[str, str]:
        plain = self._inflate.decompress(block, HEADERS_LIMIT)
        if self._inflate.unconsumed_tail:
            raise Broken(f"headers of more than {HEADERS_LIMIT} bytes")
        (count,) = struct.unpack_from(">I", plain)
        at = 4
        found = {}
        for _ in range(count):
            name, at = _text(plain, at)
            found[name], at = _text(plain, at)
        return found


def _text(plain: bytes, at: int) -> tuple[str, int]:
    (length,) = struct.unpack_from(">I", plain, at)
    end = at + 4 + length
    if end > len(plain):
        raise Broken("headers that end too early")
    return plain[at + 4 : end].decode("latin-1"), end


def _number(body: bytes, mask: int = 0x7FFFFFFF) -> int:
    found: int = struct.unpack_from(">I", body)[0] & mask
    return found


def _flags(fin: bool) -> int:
    return FIN << 24 if fin else 0


def _control(kind: int, body: bytes, fin: bool = False) -> bytes:
    return struct.pack(">II", 0x80030000 | kind, _flags(fin) | len(body)) + body
