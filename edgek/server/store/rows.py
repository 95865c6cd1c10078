"""An object as a row of the file, and back: its columns, the statements that write them, and the sum that tells a row from garbage."""

from __future__ import annotations

import sys
import zlib
from collections.abc import Mapping, Sequence

import attrs
import orjson

from edgek.model import errors
from edgek.server.store.backend import Key, Record
from edgek.server.store.record import NOTHING

INSERT = "INSERT INTO objects (id, resource, namespace, name, uid, revision, labels, fields, body, sum) VALUES (?,?,?,?,?,?,?,?,?,?)"
UPSERT = (
    INSERT
    + " ON CONFLICT (id) DO UPDATE SET uid = excluded.uid, revision = excluded.revision, labels = excluded.labels,"
    + " fields = excluded.fields, body = excluded.body, sum = excluded.sum"
)
UPDATE = "UPDATE objects SET uid = ?, revision = ?, labels = ?, fields = ?, body = ?, sum = ? WHERE id = ? AND revision = ?"
DELETE = "DELETE FROM objects WHERE id = ? AND revision = ?"
SELECT = "SELECT id, resource, namespace, name, uid, revision, labels, fields, body, sum FROM objects"


@attrs.frozen(eq=False)
class Row(Record):
    """A record that knows its row: the revision of its creation."""

    id: int


class Damaged(Exception):
    """The file cannot be read whole: ``salvage.py`` knows what to do."""


class Unreadable(errors.UsageError):
    """Only a backup helps."""


def checksum(columns: Sequence[object], body: object) -> int:
    """CRC-32 over all columns before ``sum``. Raises TypeError for a body that was never written here."""
    if not isinstance(body, bytes):
        raise TypeError(f"the body is {type(body).__name__}")
    return zlib.crc32(body, zlib.crc32("\0".join(map(str, columns)).encode()))


def state(row: Row) -> tuple[str, int, str, str, bytes, int]:
    """The columns that an update replaces."""
    labels, fields = _text(row.labels), _text(row.fields)
    key = row.key
    sum_ = checksum((row.id, key.resource, key.namespace, key.name, row.uid, row.revision, labels, fields), row.body)
    return row.uid, row.revision, labels, fields, row.body, sum_


def whole(row: Row) -> tuple[object, ...]:
    key = row.key
    return row.id, key.resource, key.namespace, key.name, *state(row)


def _text(values: Mapping[str, str]) -> str:
    return orjson.dumps(dict(values)).decode() if values else "{}"


class Reader:
    """Makes rows of columns. Equal labels and fields, and equal words in fields, become the same object: a third of what a Pod costs."""

    def __init__(self) -> None:
        self._mappings: dict[str, Mapping[str, str]] = {"{}": NOTHING}

    def row(self, values: tuple[int, str, str, str, str, int, str, str, bytes, int]) -> Row:
        """Raises Damaged when the columns are not what was written."""
        id_, resource, namespace, name, uid, revision, labels, fields, body, sum_ = values
        if checksum(values[:-2], body) != sum_:
            raise Damaged(f"{resource} {namespace}/{name} is not what was written")
        key = Key(sys.intern(resource), sys.intern(namespace), name)
        return Row(key, uid, revision, body, self._mapping(labels), self._mapping(fields), id_)

    def _mapping(self, text: str) -> Mapping[str, str]:
        found = self._mappings.get(text)
        if found is None:
            found = self._mappings[text] = {sys.intern(name): sys.intern(value) for name, value in orjson.loads(text).items()}
        return found
