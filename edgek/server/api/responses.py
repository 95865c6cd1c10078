"""What the API answers with: whole answers, lists made of stored bytes, streams that go on, and connections that are taken over.

Also the ``Status`` object, which stands for every error and for the success of a delete.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol

import attrs
import orjson

from edgek.client import link_messages
from edgek.client.transport import Response
from edgek.host.tls import Channel
from edgek.model import errors
from edgek.model.kinds import Kind
from edgek.model.objects import Object

JSON = "application/json"
YAML = "application/yaml"
TEXT = "text/plain; charset=utf-8"

JSON_HEADERS: Mapping[str, str] = {"content-type": JSON}

# Answers that upstream makes without knowing an object: their details are there, and empty.
GENERIC_MESSAGES = frozenset(
    {
        "the server could not find the requested resource",
        "the server does not allow this method on the requested resource",
        "the server rejected our request due to an error in our request",
        "415: Unsupported Media Type",
    }
)
NOT_FOUND = "the server could not find the requested resource"
METHOD_NOT_ALLOWED = "the server does not allow this method on the requested resource"


@attrs.frozen
class Parts:
    """A whole answer in pieces, such as a list: they are made while they are sent, and never joined. ``size`` is known before."""

    status: int
    headers: Mapping[str, str]
    size: int
    parts: Iterable[bytes]


class Line:
    """One event of a watch, encoded once however many watchers hear it."""

    __slots__ = ("_framed", "_packed", "line")

    def __init__(self, line: bytes) -> None:
        self.line = line
        self._framed = self._packed = b""

    @property
    def framed(self) -> bytes:
        """As a chunk of HTTP/1.1."""
        if not self._framed:
            self._framed = b"%x\r\n%b\r\n" % (len(self.line), self.line)
        return self._framed

    @property
    def packed(self) -> bytes:
        """As a message of an agent's link."""
        if not self._packed:
            self._packed = link_messages.packed(self.line)
        return self._packed


class Sink(Protocol):
    """Where a stream goes: a socket, or a reader in the same process."""

    def push(self, *lines: Line) -> None:
        """Without waiting, several in one piece. A reader that is too far behind is cut off."""
        ...

    async def drain(self) -> None:
        """Wait until the reader took what was pushed. Raises ``Cut`` once it is gone."""
        ...

    async def pause(self, until: float) -> bool:
        """Wait until that time (of the trio clock); False as soon as the reader is gone, hung up or was cut off."""
        ...


class Cut(Exception):
    """The reader of a stream is gone."""


@attrs.frozen
class Streaming:
    """An answer that goes on. ``run`` pushes lines and returns to end it."""

    status: int
    headers: Mapping[str, str]
    run: Callable[[Sink], Awaitable[None]]


@attrs.frozen
class Upgrade:
    """The connection changes hands. ``run`` is given the raw bytes after the request and says the 101 itself."""

    run: Callable[[Channel], Awaitable[None]]


Answer = Response | Parts | Streaming | Upgrade


def text(status: int, body: str, content_type: str = TEXT) -> Response:
    return Response(status, {"content-type": content_type, "x-content-type-options": "nosniff"}, body.encode())


def json(status: int, value: Any, content_type: str = JSON) -> Response:
    return Response(status, {"content-type": content_type}, orjson.dumps(value))


def status_of(exc: errors.ApiError) -> Object:
    """The Status that stands for an error."""
    status: Object = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": exc.message}
    if exc.reason:
        status["reason"] = exc.reason
    details = exc.details()
    if details or exc.message in GENERIC_MESSAGES or exc.message.startswith(("406: Not Acceptable", "forbidden: User")):
        status["details"] = details
    status["code"] = exc.code
    return status


def error(exc: errors.ApiError) -> Response:
    headers = {"content-type": JSON}
    if exc.retry_after_s:
        headers["retry-after"] = str(exc.retry_after_s)
    return Response(exc.code, headers, orjson.dumps(status_of(exc)))


def success(kind: Kind, name: str, uid: str) -> Object:
    """The answer to a delete that is done."""
    details = {"name": name, "group": kind.group, "kind": kind.plural, "uid": uid}
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Success",
        "details": {key: value for key, value in details.items() if value},
    }


def created() -> Object:
    """The answer to a binding or an eviction."""
    return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}


# The errors that name an object, in upstream's words.


def not_found(kind: Kind, name: str) -> errors.NotFound:
    return errors.NotFound(f'{kind.resource} "{name}" not found', name=name, group=kind.group, kind=kind.plural)


def already_exists(kind: Kind, name: str, why: str = "") -> errors.AlreadyExists:
    return errors.AlreadyExists(f'{why}{kind.resource} "{name}" already exists', name=name, group=kind.group, kind=kind.plural)


def conflict(kind: Kind, name: str, why: str = "") -> errors.Conflict:
    why = why or "the object has been modified; please apply your changes to the latest version and try again"
    return errors.Conflict(f'Operation cannot be fulfilled on {kind.resource} "{name}": {why}', name=name, group=kind.group, kind=kind.plural)


def forbidden(kind: Kind, name: str, why: str) -> errors.Forbidden:
    named = f' "{name}"' if name else ""
    return errors.Forbidden(f"{kind.resource}{named} is forbidden: {why}", name=name, group=kind.group, kind=kind.plural)


def invalid(group: str, kind: str, name: str, causes: Sequence[errors.Cause]) -> errors.Invalid:
    """``Pod "x" is invalid: spec.a: Required value``; several problems stand in brackets, each once."""
    texts = list(dict.fromkeys(f"{cause.field}: {cause.message}" for cause in causes))
    said = texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]"
    qualified = f"{kind}.{group}" if group else kind
    return errors.Invalid(f'{qualified} "{name}" is invalid: {said}', name=name, group=group, kind=kind, causes=causes)


def quoted_json(value: Any) -> str:
    """A value inside a message: its JSON, quoted once more."""
    return orjson.dumps(orjson.dumps(value).decode()).decode()


def invalid_options(options: str, *causes: errors.Cause) -> errors.Invalid:
    """Query parameters that may not stand together: ``options`` is ListOptions, CreateOptions ..."""
    return invalid("meta.k8s.io", options, "", causes)
