"""Rows straight from the pages of a file whose tree is broken: one bad inner page hides hundreds of sound ones below it.

Follows https://sqlite.org/fileformat2.html §1.5 to §2.1, as far as a table's leaves need it. What is found may be stale (pages that were given up
keep their bytes), so the caller says which rows it misses, and a row's checksum says whether it is one.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

TABLE_LEAF = 0x0D
# The sizes of integers by their serial type; 8 and 9 are the numbers 0 and 1 themselves.
INTEGER_BYTES = {1: 1, 2: 2, 3: 3, 4: 4, 5: 6, 6: 8}
FIRST_BLOB = 12  # and every even type after it; the odd ones are text

Values = tuple[object, ...]


def rows(path: Path) -> Iterator[tuple[int, Values]]:
    """(rowid, columns) of everything that can be read as a cell of a table, in no order; the column that is the rowid reads None."""
    content = path.read_bytes()
    page_bytes = int.from_bytes(content[16:18], "big")
    page_bytes = 65536 if page_bytes == 1 else page_bytes
    if page_bytes < 512:
        return
    file = _File(content, page_bytes, page_bytes - content[20])
    for start in range(0, len(content) - page_bytes + 1, page_bytes):
        if content[start] == TABLE_LEAF:
            yield from file.cells(start)


class _File:
    """The bytes of a database. ``usable`` is a page less what is reserved at its end."""

    def __init__(self, content: bytes, page_bytes: int, usable: int) -> None:
        self._content = content
        self._page_bytes = page_bytes
        self._usable = usable

    def cells(self, page: int) -> Iterator[tuple[int, Values]]:
        count = int.from_bytes(self._content[page + 3 : page + 5], "big")
        for index in range(min(count, self._usable // 4)):  # no cell is smaller than four bytes
            pointer = page + 8 + 2 * index
            cell = page + int.from_bytes(self._content[pointer : pointer + 2], "big")
            try:
                yield self._cell(cell)
            except (IndexError, ValueError, UnicodeDecodeError):
                continue  # garbage: its neighbours may be sound

    def _cell(self, at: int) -> tuple[int, Values]:
        length, at = varint(self._content, at)
        rowid, at = varint(self._content, at)
        return rowid, _columns(self._payload(at, length))

    def _payload(self, at: int, length: int) -> bytes:
        """What fits stands in the cell, the rest in a chain of overflow pages."""
        if length > len(self._content):
            raise ValueError("longer than the file")
        usable = self._usable
        least = (usable - 12) * 32 // 255 - 23
        most = usable - 35
        local = length
        if length > most:
            local = least + (length - least) % (usable - 4)
            local = local if local <= most else least
        parts, missing = [self._content[at : at + local]], length - local
        following = at + local
        while missing > 0:
            page = (int.from_bytes(self._content[following : following + 4], "big") - 1) * self._page_bytes
            if not 0 < page < len(self._content):
                raise ValueError("the chain of overflow pages is broken")
            parts.append(self._content[page + 4 : page + 4 + min(missing, usable - 4)])
            missing -= usable - 4
            following = page
        return b"".join(parts)


def _columns(payload: bytes) -> Values:
    header, at = varint(payload, 0)
    types = []
    while at < header:
        type_, at = varint(payload, at)
        types.append(type_)
    values: list[object] = []
    for type_ in types:
        value, at = _value(payload, at, type_)
        values.append(value)
    return tuple(values)


def _value(payload: bytes, at: int, type_: int) -> tuple[object, int]:
    """The value of this serial type, and where the next one begins."""
    if type_ >= FIRST_BLOB:
        end = at + (type_ - FIRST_BLOB) // 2
        raw = payload[at:end]
        return (raw.decode() if type_ % 2 else raw), end
    if type_ in INTEGER_BYTES:
        end = at + INTEGER_BYTES[type_]
        return int.from_bytes(payload[at:end], "big", signed=True), end
    if type_ in (8, 9):
        return type_ - 8, at
    if type_ == 0:
        return None, at
    raise ValueError(f"our tables hold no value of type {type_}")


def varint(content: bytes, at: int) -> tuple[int, int]:
    """A number of one to nine bytes, and where it ends."""
    value = 0
    for index in range(8):
        byte = content[at + index]
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            return value, at + index + 1
    return value << 8 | content[at + 8], at + 9
