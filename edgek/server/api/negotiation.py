"""Which shape of an answer a client asks for: the Accept header, its transforms, ``pretty``, gzip.

Answers are JSON or YAML, and may be turned into a Table or into metadata alone. Protobuf is answered only to those who take nothing else: whoever
names JSON beside it, as all common clients do, gets stored bytes.
"""

from __future__ import annotations

import functools
import zlib
from collections.abc import Iterator, Mapping
from typing import Any, Literal

import attrs
import orjson

from edgek.client.transport import Request, Response
from edgek.model import errors
from edgek.server.api import protobufanswer
from edgek.server.api.responses import JSON, YAML, Parts

Shape = Literal["", "Table", "PartialObjectMetadata"]

PROTOBUF = "application/vnd.kubernetes.protobuf"
OFFERED = f"{JSON}, {YAML}, {PROTOBUF}"
META_GROUP = "meta.k8s.io"
GZIP_FROM = 128 * 1024  # bytes: below it the CPU is worth more than the wire

_WILD = frozenset({"*/*", "application/*"})
_SHAPES: Mapping[str, Shape] = {
    "Table": "Table",
    "PartialObjectMetadata": "PartialObjectMetadata",
    "PartialObjectMetadataList": "PartialObjectMetadata",
}


@attrs.frozen
class Wanted:
    """``media`` is JSON, YAML or PROTOBUF."""

    media: str
    shape: Shape = ""

    @property
    def plain(self) -> bool:
        """Stored bytes can be sent as they are."""
        return self.media == JSON and not self.shape


PLAIN = Wanted(JSON)


@functools.lru_cache(maxsize=256)
def wanted(accept: str, tables: bool = True) -> Wanted:
    """The first clause that can be answered. Raises NotAcceptable. Without ``tables`` nothing can be shown as one."""
    if not accept:
        return PLAIN
    known = False
    for media, parameters in clauses(accept):
        if media not in (JSON, YAML, PROTOBUF) and media not in _WILD:
            continue
        known = True
        found = _shape(parameters, tables)
        if found is None:
            continue
        if found == "Table" and media == PROTOBUF:
            continue
        return Wanted(_media(media, accept, found), found)
    if not known:
        raise errors.NotAcceptable(f"406: Not Acceptable\n\nAvailable representations: {OFFERED}")
    raise errors.NotAcceptable(f"only the following media types are accepted: {OFFERED}")


def _media(media: str, accept: str, shape: Shape) -> str:
    if media == PROTOBUF and not shape and not any(other == JSON or other in _WILD for other, _ in clauses(accept)):
        return PROTOBUF
    return YAML if media == YAML else JSON


def clauses(accept: str) -> Iterator[tuple[str, Mapping[str, str]]]:
    """``(media type, parameters)`` in the order of preference."""
    found = []
    for index, clause in enumerate(accept.split(",")):
        media, *rest = (part.strip() for part in clause.split(";"))
        parameters = dict(part.split("=", 1) for part in rest if "=" in part)
        try:
            quality = float(parameters.pop("q", "1"))
        except ValueError:
            quality = 1.0
        if media and quality > 0:
            found.append((-quality, index, media, parameters))
    for _, _, media, parameters in sorted(found, key=lambda item: item[:2]):
        yield media, parameters


def _shape(parameters: Mapping[str, str], tables: bool) -> Shape | None:
    """None when the transform asked for is not ours."""
    name = parameters.get("as", "")
    if not name:
        return ""
    if parameters.get("g") != META_GROUP or parameters.get("v") not in ("v1", "v1beta1"):
        return None
    shape = _SHAPES.get(name)
    return None if shape == "Table" and not tables else shape


def wants_pretty(request: Request) -> bool:
    """Asked for, or a person looking with a browser or curl."""
    asked = request.arg("pretty") if request.query else ""
    if asked:
        return asked not in ("0", "false")
    return request.headers.get("user-agent", "").startswith(("curl", "Wget", "Mozilla/5.0"))


def encode(value: Any, media: str) -> bytes:
    if media == YAML:
        return _yaml(value)
    return orjson.dumps(value)


def dressed(answer: Response | Parts, request: Request, want: Wanted) -> Response | Parts:
    """The same answer as YAML or indented where the client asks for it. ``answer`` holds JSON."""
    if want.media == YAML:
        return _replaced(answer, _yaml(orjson.loads(joined(answer))), YAML)
    if want.media == PROTOBUF and (sealed := protobufanswer.sealed(orjson.loads(joined(answer)))) is not None:
        return _replaced(answer, sealed, PROTOBUF)
    if wants_pretty(request):
        return _replaced(answer, orjson.dumps(orjson.loads(joined(answer)), option=orjson.OPT_INDENT_2) + b"\n", JSON)
    return answer


def wants_gzip(request: Request, answer: Response | Parts) -> bool:
    if request.method != "GET" or "gzip" not in request.headers.get("accept-encoding", ""):
        return False
    size = answer.size if isinstance(answer, Parts) else len(answer.body)
    return size >= GZIP_FROM and "content-encoding" not in answer.headers


def compressed(answer: Response | Parts) -> Response | Parts:
    """gzip at its quickest. Takes 15 ms a megabyte: call it in a thread."""
    squeeze = zlib.compressobj(1, zlib.DEFLATED, 31)
    packed = [squeeze.compress(piece) for piece in ((answer.body,) if isinstance(answer, Response) else answer.parts)]
    packed.append(squeeze.flush())
    headers = {**answer.headers, "content-encoding": "gzip", "vary": "Accept-Encoding"}
    return Parts(answer.status, headers, sum(map(len, packed)), [piece for piece in packed if piece])


def joined(answer: Response | Parts) -> bytes:
    return answer.body if isinstance(answer, Response) else b"".join(answer.parts)


def _replaced(answer: Response | Parts, body: bytes, media: str) -> Response:
    return Response(answer.status, {**answer.headers, "content-type": media}, body)


def _yaml(value: Any) -> bytes:
    import yaml

    dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
    return bytes(yaml.dump(value, Dumper=dumper, default_flow_style=False, allow_unicode=True, encoding="utf-8"))
