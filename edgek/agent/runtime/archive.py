"""Reading image archives: ``docker save`` and OCI layouts in a tar file, as the blobs and names that a content store takes.

Works on an open, uncompressed tar file and waits for nothing but the disk; ``images_import.py`` brings what is found here to containerd.
"""

from __future__ import annotations

import hashlib
import tarfile
from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO

import attrs
import orjson

from edgek.agent.runtime.reference import normalized

CHUNK_BYTES = 1 << 20
GZIP_MAGIC = b"\x1f\x8b"
BIGGEST_MANIFEST_BYTES = 8 << 20  # an index or a manifest beyond this is no index
NAME_ANNOTATIONS = ("io.containerd.image.name", "org.opencontainers.image.ref.name")
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
INDEXES = (OCI_INDEX, "application/vnd.docker.distribution.manifest.list.v2+json")


class NotAnImage(ValueError):
    """The file is no image archive, or a broken one."""


@attrs.frozen
class Blob:
    """One piece of content: in the archive under ``member``, or made by us as ``content``. ``labels`` keep what it refers to from being collected."""

    digest: str
    size: int
    member: str = ""
    content: bytes = b""
    labels: Mapping[str, str] = attrs.field(factory=dict)


@attrs.frozen
class Named:
    """An image and where it begins."""

    name: str
    media_type: str
    digest: str
    size: int


@attrs.frozen
class Contents:
    blobs: tuple[Blob, ...]  # what is referred to comes before what refers to it
    images: tuple[Named, ...]


def read(tar: tarfile.TarFile) -> Contents:
    """Raises NotAnImage."""
    try:
        names = {_plain(name) for name in tar.getnames()}
        if {"index.json", "oci-layout"} <= names:
            return _oci(tar, names)
        if "manifest.json" in names:
            return _docker(tar)
    except (KeyError, TypeError, orjson.JSONDecodeError, tarfile.TarError) as error:
        raise NotAnImage(f"broken image archive: {error!r}") from error
    raise NotAnImage("neither index.json (OCI) nor manifest.json (docker save) is in it")


def chunks(tar: tarfile.TarFile, blob: Blob) -> Iterator[bytes]:
    """The content, a megabyte at a time."""
    if not blob.member:
        yield blob.content
        return
    with _open(tar, blob.member) as stream:
        while chunk := stream.read(CHUNK_BYTES):
            yield chunk


def _oci(tar: tarfile.TarFile, names: set[str]) -> Contents:
    blobs: dict[str, Blob] = {}
    images = []
    tags = _docker_tags(tar) if "manifest.json" in names else {}
    for entry in _json(tar, "index.json")["manifests"]:
        if not _walk(tar, names, entry, blobs):
            continue
        image_names = _names(entry) or tags.get(_config_of(tar, entry), [])
        images += [Named(name, entry["mediaType"], entry["digest"], entry["size"]) for name in image_names]
    if not images:
        raise NotAnImage("no image in it has a name; write one into the annotation org.opencontainers.image.ref.name")
    return Contents(tuple(blobs.values()), tuple(images))


def _walk(tar: tarfile.TarFile, names: set[str], entry: Mapping[str, Any], blobs: dict[str, Blob]) -> bool:
    """Collect a descriptor's blob after those it refers to. False when it is not in the archive: an index may name more platforms than it brings."""
    digest, media_type = entry["digest"], entry.get("mediaType", "")
    member = _member(digest)
    if member not in names:
        return False
    labels: dict[str, str] = {}
    if media_type in INDEXES:
        children = [child for child in _json(tar, member)["manifests"] if _walk(tar, names, child, blobs)]
        labels = {f"containerd.io/gc.ref.content.m.{at}": child["digest"] for at, child in enumerate(children)}
        if not children:
            return False
    elif "manifest" in media_type:
        manifest = _json(tar, member)
        for part in (manifest["config"], *manifest["layers"]):
            _walk(tar, names, part, blobs)
        labels = _manifest_labels(manifest)
    blobs[digest] = Blob(digest, entry["size"], member, labels=labels)
    return True


def _docker(tar: tarfile.TarFile) -> Contents:
    blobs: dict[str, Blob] = {}
    images = []
    for entry in _json(tar, "manifest.json"):
        config = _described(tar, entry["Config"], DOCKER_CONFIG, blobs)
        layers = [_described(tar, layer, DOCKER_LAYER, blobs) for layer in entry["Layers"]]
        manifest = {"schemaVersion": 2, "mediaType": DOCKER_MANIFEST, "config": config, "layers": layers}
        content = orjson.dumps(manifest)
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        blobs[digest] = Blob(digest, len(content), content=content, labels=_manifest_labels(manifest))
        images += [Named(normalized(tag), DOCKER_MANIFEST, digest, len(content)) for tag in entry["RepoTags"] or ()]
    if not images:
        raise NotAnImage("no image in it has a tag; save it by its name")
    return Contents(tuple(blobs.values()), tuple(images))


def _described(tar: tarfile.TarFile, member: str, media_type: str, blobs: dict[str, Blob]) -> dict[str, Any]:
    """The descriptor of a file whose digest nobody wrote down."""
    digest, size = hashlib.sha256(), 0
    with _open(tar, member) as stream:
        first = stream.read(CHUNK_BYTES)
        chunk = first
        while chunk:
            digest.update(chunk)
            size += len(chunk)
            chunk = stream.read(CHUNK_BYTES)
    if media_type == DOCKER_LAYER and first.startswith(GZIP_MAGIC):
        media_type += ".gzip"
    name = f"sha256:{digest.hexdigest()}"
    blobs[name] = Blob(name, size, member)
    return {"mediaType": media_type, "digest": name, "size": size}


def _names(entry: Mapping[str, Any]) -> list[str]:
    """A reference name may be a bare tag (then it names nothing by itself)."""
    annotations = entry.get("annotations") or {}
    found = [annotations[key] for key in NAME_ANNOTATIONS if key in annotations]
    return [normalized(name) for name in found if "/" in name or ":" in name][:1]


def _docker_tags(tar: tarfile.TarFile) -> dict[str, list[str]]:
    """Names by the config's digest, out of the manifest.json that docker writes beside its OCI layout."""
    return {
        f"sha256:{entry['Config'].rpartition('/')[2].removesuffix('.json')}": [normalized(tag) for tag in entry.get("RepoTags") or ()]
        for entry in _json(tar, "manifest.json")
    }


def _config_of(tar: tarfile.TarFile, entry: Mapping[str, Any]) -> str:
    digest: str = _json(tar, _member(entry["digest"])).get("config", {}).get("digest", "")
    return digest


def _manifest_labels(manifest: Mapping[str, Any]) -> dict[str, str]:
    layers = {f"containerd.io/gc.ref.content.l.{at}": layer["digest"] for at, layer in enumerate(manifest["layers"])}
    return {"containerd.io/gc.ref.content.config": manifest["config"]["digest"], **layers}


def _json(tar: tarfile.TarFile, member: str) -> Any:
    with _open(tar, member) as stream:
        return orjson.loads(stream.read(BIGGEST_MANIFEST_BYTES))


def _open(tar: tarfile.TarFile, member: str) -> BinaryIO:
    for spelling in (member, f"./{member}"):
        try:
            stream = tar.extractfile(spelling)  # follows the symbolic links that older docker writes for equal layers
        except KeyError:
            continue
        if stream is not None:
            return stream  # type: ignore[return-value]  # IO[bytes] reads like BinaryIO
    raise NotAnImage(f"{member} is named in it and is not there")


def _member(digest: str) -> str:
    algorithm, _, value = digest.partition(":")
    return f"blobs/{algorithm}/{value}"


def _plain(name: str) -> str:
    return name.removeprefix("./")
