"""What Go's encoding/json would have said about a text that is not JSON.

Clients and their tests know these messages. The scanner runs only after orjson refused the text, so it need not be quick.
"""

from __future__ import annotations

import json
import re
from typing import Any

_ENDED = "unexpected end of JSON input"
_SPACE = re.compile(rb"[ \t\r\n]*")
_NUMBER = re.compile(rb"-?(0|[1-9][0-9]*)")
_PLAIN = re.compile(rb'[^"\\\x00-\x1f]*')
_HEX = re.compile(rb"[0-9a-fA-F]")
_LITERALS = {ord("t"): b"true", ord("f"): b"false", ord("n"): b"null"}
_ESCAPES = b'"\\/bfnrt'
_TOO_DEEP = "exceeded max depth"


class _Found(Exception):
    """The first thing that is wrong."""


def problem(raw: bytes) -> str:
    """The message for the first thing that is wrong, or an empty string if Go would accept the text."""
    scanner = _Scanner(raw)
    try:
        scanner.value()
        scanner.space()
        if scanner.at < len(raw):
            scanner.fail("after top-level value")
    except _Found as found:
        return str(found)
    except RecursionError:
        return _TOO_DEEP
    return ""


def type_name(value: Any) -> str:
    """What Go calls the JSON type of a value."""
    match value:
        case None:
            return "null"
        case bool():
            return "bool"
        case str():
            return "string"
        case list():
            return "array"
        case dict():
            return "object"
    return "number"


def shown(value: Any) -> str:
    """A value as ``%v`` prints what JSON decodes to: ``map[a:1 b:[x y]]``."""
    match value:
        case None:
            return "<nil>"
        case bool():
            return "true" if value else "false"
        case dict():
            return "map[" + " ".join(f"{key}:{shown(member)}" for key, member in sorted(value.items())) + "]"
        case list():
            return "[" + " ".join(map(shown, value)) + "]"
        case str():
            return value
    return json.dumps(value)


class _Scanner:
    def __init__(self, raw: bytes) -> None:
        self.raw = raw
        self.at = 0

    def fail(self, where: str) -> None:
        if self.at >= len(self.raw):
            raise _Found(_ENDED)
        text = self.raw[self.at : self.at + 4].decode("utf-8", "replace")[0]
        quoted = {"'": "'\\''", '"': "'\"'"}.get(text) or f"'{json.dumps(text, ensure_ascii=False)[1:-1]}'"
        raise _Found(f"invalid character {quoted} {where}")

    def space(self) -> None:
        found = _SPACE.match(self.raw, self.at)
        self.at = found.end() if found else self.at

    @property
    def char(self) -> int:
        """The byte at hand; -1 at the end."""
        return self.raw[self.at] if self.at < len(self.raw) else -1

    def value(self) -> None:
        self.space()
        if self.char == ord("{"):
            self._members()
        elif self.char == ord("["):
            self._items()
        elif self.char == ord('"'):
            self._string()
        elif self.char in _LITERALS:
            self._literal(_LITERALS[self.char])
        elif self.char == ord("-") or ord("0") <= self.char <= ord("9"):
            self._number()
        else:
            self.fail("looking for beginning of value")

    def _members(self) -> None:
        self.at += 1
        self.space()
        if self.char == ord("}"):
            self.at += 1
            return
        while True:
            self.space()
            if self.char != ord('"'):
                self.fail("looking for beginning of object key string")
            self._string()
            self.space()
            if self.char != ord(":"):
                self.fail("after object key")
            self.at += 1
            self.value()
            if self._ends(ord("}"), "after object key:value pair"):
                return

    def _items(self) -> None:
        self.at += 1
        self.space()
        if self.char == ord("]"):
            self.at += 1
            return
        while True:
            self.value()
            if self._ends(ord("]"), "after array element"):
                return

    def _ends(self, closing: int, where: str) -> bool:
        self.space()
        if self.char not in (closing, ord(",")):
            self.fail(where)
        self.at += 1
        return self.raw[self.at - 1] == closing

    def _string(self) -> None:
        self.at += 1
        while True:
            plain = _PLAIN.match(self.raw, self.at)
            self.at = plain.end() if plain else self.at
            if self.char == ord('"'):
                self.at += 1
                return
            if self.char != ord("\\"):
                self.fail("in string literal")
            self.at += 1
            self._escape()

    def _escape(self) -> None:
        if self.char == ord("u"):
            self.at += 1
            for _ in range(4):
                if not _HEX.match(self.raw, self.at):
                    self.fail("in \\u hexadecimal character escape")
                self.at += 1
        elif self.char == -1 or self.char not in _ESCAPES:
            self.fail("in string escape code")
        else:
            self.at += 1

    def _literal(self, word: bytes) -> None:
        for expected in word:
            if self.char != expected:
                self.fail(f"in literal {word.decode()} (expecting '{chr(expected)}')")
            self.at += 1

    def _number(self) -> None:
        found = _NUMBER.match(self.raw, self.at)
        if found is None:
            self.at += 1
            self.fail("in numeric literal")
        else:
            self.at = found.end()
        if self.char == ord("."):
            self.at += 1
            self._digits("after decimal point in numeric literal")
        if self.char in (ord("e"), ord("E")):
            self.at += 1
            if self.char in (ord("+"), ord("-")):
                self.at += 1
            self._digits("in exponent of numeric literal")

    def _digits(self, where: str) -> None:
        if not ord("0") <= self.char <= ord("9"):
            self.fail(where)
        while ord("0") <= self.char <= ord("9"):
            self.at += 1
