"""The ``channel.k8s.io`` protocols as values: numbered channels in the messages of a WebSocket. Nothing here waits.

A message is one byte that names a channel and what was said on it. The base64 protocols say the same in text, with a digit for the channel.
"""

from __future__ import annotations

import base64
import binascii

import attrs

STDIN, STDOUT, STDERR, STATUS, RESIZE = range(5)
CLOSE = 255  # since v5: the other side will say no more on the channel named by the next byte


@attrs.frozen
class Dialect:
    """One of the protocols. ``tells_status``: the end is told as a Status, not as the text of an error."""

    name: str
    base64: bool = False
    tells_status: bool = False
    half_closes: bool = False

    def encode(self, channel: int, payload: bytes) -> bytes:
        if self.base64:
            return b"%d" % channel + base64.b64encode(payload)
        return bytes((channel,)) + payload

    def decode(self, message: bytes) -> tuple[int, bytes]:
        """The channel and what was said. Raises ValueError."""
        if not message:
            raise ValueError("a message without a channel")
        if not self.base64:
            return message[0], message[1:]
        try:
            return int(message[:1]), base64.b64decode(message[1:], validate=True)
        except binascii.Error as exc:
            raise ValueError(str(exc)) from None


DIALECTS = (
    Dialect("v5.channel.k8s.io", tells_status=True, half_closes=True),
    Dialect("v4.channel.k8s.io", tells_status=True),
    Dialect("v4.base64.channel.k8s.io", base64=True, tells_status=True),
    Dialect("v3.channel.k8s.io"),
    Dialect("v2.channel.k8s.io"),
    Dialect("channel.k8s.io"),
    Dialect("base64.channel.k8s.io", base64=True),
    Dialect(""),
)
BY_NAME = {dialect.name: dialect for dialect in DIALECTS}
