"""Bytes become requests, within limits. httptools does the grammar and has no limits of its own: those below are ours."""

from __future__ import annotations

import re
from collections import deque
from urllib.parse import parse_qsl, unquote

import httptools

from edgek.client.transport import Request

HEAD_LIMIT = 128 * 1024  # bytes of request line and headers
BODY_LIMIT = 3 * 1024 * 1024  # bytes; upstream's

# What is passed on is not kept, and may be as long as it likes.
_PASSED_ON = re.compile(rb"/api/v1/(?:namespaces/[^/?]+/(?:pods|services)|nodes)/[^/?]+/proxy(?:[/?]|$)")


class TooMuch(Exception):
    """A request beyond our limits; the answer to it."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


class Parser:
    """Collects requests from bytes. ``ready`` holds whole ones, each with whether the connection may be used again."""

    def __init__(self) -> None:
        self.ready: deque[tuple[Request, bool]] = deque()
        self.expects_continue = False
        self.streams = False  # the last request's body is still coming; its pieces are in ``pieces``
        self.pieces: deque[bytes] = deque()
        self.parser = httptools.HttpRequestParser(self)

    def feed(self, data: bytes) -> bytes | None:
        """Bytes after a request that asks for another protocol; None mostly. Raises ``TooMuch`` and HttpParserError."""
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            return data[upgrade.args[0] :]
        except httptools.HttpParserCallbackError as exc:
            if isinstance(exc.__context__, TooMuch):
                raise exc.__context__ from None
            raise
        return None

    def on_message_begin(self) -> None:
        self._url = b""
        self._headers: dict[str, str] = {}
        self._head_bytes = 0
        self._body: list[bytes] = []
        self._body_bytes = 0

    def on_url(self, url: bytes) -> None:
        self._url += url
        self._count_head(len(url))

    def on_header(self, name: bytes, value: bytes) -> None:
        self._count_head(len(name) + len(value) + 4)
        key, text = name.decode("latin-1").lower(), value.decode("latin-1")
        # Repeated headers are kept apart by a line break, which no value can hold: names in Impersonate-Group may hold commas.
        self._headers[key] = f"{self._headers[key]}\n{text}" if key in self._headers else text

    def _count_head(self, size: int) -> None:
        self._head_bytes += size
        if self._head_bytes > HEAD_LIMIT:
            raise TooMuch(431)

    def on_headers_complete(self) -> None:
        length = self._headers.get("content-length", "")
        is_long = length.isdigit() and int(length) > BODY_LIMIT
        self.expects_continue = self._headers.get("expect", "").lower() == "100-continue"
        if (is_long or "transfer-encoding" in self._headers) and _PASSED_ON.match(self._url):
            self._hand_over(keep=False)
            self.streams = True
        elif is_long:
            raise TooMuch(413)

    def on_body(self, body: bytes) -> None:
        if self.streams:
            self.pieces.append(body)
            return
        self._body_bytes += len(body)
        if self._body_bytes > BODY_LIMIT:
            raise TooMuch(413)
        self._body.append(body)

    def on_message_complete(self) -> None:
        self.expects_continue = False
        if self.streams:
            self.streams = False
        else:
            self._hand_over(keep=self.parser.should_keep_alive())

    def _hand_over(self, *, keep: bool) -> None:
        path, query = _split(self._url)
        body = self._body[0] if len(self._body) == 1 else b"".join(self._body)
        request = Request(self.parser.get_method().decode("ascii"), path, query, self._headers, body)
        self.ready.append((request, keep))


def _split(url: bytes) -> tuple[str, tuple[tuple[str, str], ...]]:
    text = url.decode("latin-1")
    if not text.startswith("/"):  # a request to a proxy names the host, too
        text = "/" + text.partition("://")[2].partition("/")[2]
    path, mark, query = text.partition("?")
    if "%" in path:
        path = unquote(path)
    return path, tuple(parse_qsl(query, keep_blank_values=True)) if mark else ()
