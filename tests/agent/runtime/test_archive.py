from __future__ import annotations

import hashlib
import io
import tarfile

import orjson
import pytest

from edgek.agent.runtime import archive
from tests.fakes import images


def opened(files: dict[str, bytes]) -> tarfile.TarFile:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    out.seek(0)
    return tarfile.open(fileobj=out)


def blob(content: bytes) -> tuple[str, bytes]:
    return f"blobs/sha256/{hashlib.sha256(content).hexdigest()}", content


def descriptor(content: bytes, media_type: str, **more: object) -> dict[str, object]:
    return {"mediaType": media_type, "digest": f"sha256:{hashlib.sha256(content).hexdigest()}", "size": len(content), **more}


MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG_BLOB, LAYER_BLOB = b'{"os":"linux"}', b"layer"
MANIFEST_BLOB = orjson.dumps({"config": descriptor(CONFIG_BLOB, "config"), "layers": [descriptor(LAYER_BLOB, "layer")]})


def oci(*entries: dict[str, object], extra: tuple[bytes, ...] = (), **files: bytes) -> tarfile.TarFile:
    index = orjson.dumps({"manifests": entries})
    blobs = dict(map(blob, (CONFIG_BLOB, LAYER_BLOB, MANIFEST_BLOB, *extra)))
    return opened({"oci-layout": b"{}", "index.json": index, **blobs, **files})


def named(name: str) -> dict[str, object]:
    return descriptor(MANIFEST_BLOB, MANIFEST, annotations={"org.opencontainers.image.ref.name": name})


def test_an_oci_layout_gives_its_image_after_what_it_refers_to() -> None:
    contents = archive.read(oci(named("example.org/app:2")))
    assert [image.name for image in contents.images] == ["example.org/app:2"]
    assert [each.size for each in contents.blobs] == [len(CONFIG_BLOB), len(LAYER_BLOB), len(MANIFEST_BLOB)]
    labels = contents.blobs[-1].labels
    assert labels["containerd.io/gc.ref.content.config"] == contents.blobs[0].digest
    assert labels["containerd.io/gc.ref.content.l.0"] == contents.blobs[1].digest


def test_an_index_of_platforms_keeps_those_it_brings() -> None:
    absent = {**descriptor(b"other", MANIFEST), "platform": {"architecture": "s390x"}}
    index = orjson.dumps({"manifests": [absent, descriptor(MANIFEST_BLOB, MANIFEST)]})
    entry = descriptor(index, archive.OCI_INDEX, annotations={"io.containerd.image.name": "example.org/many:1"})
    contents = archive.read(oci(entry, extra=(index,)))
    assert [image.media_type for image in contents.images] == [archive.OCI_INDEX]
    assert list(contents.blobs[-1].labels.values()) == [contents.blobs[-2].digest]


def test_dockers_layout_with_bare_tags_takes_names_from_its_manifest() -> None:
    docker = orjson.dumps([{"Config": blob(CONFIG_BLOB)[0], "RepoTags": ["app:2"], "Layers": []}])
    contents = archive.read(oci(named("2"), **{"manifest.json": docker}))
    assert [image.name for image in contents.images] == ["docker.io/library/app:2"]


def test_docker_save_is_given_a_manifest_of_our_own() -> None:
    content = images.docker_archive("app:1", {"hello": b"x"})
    with tarfile.open(fileobj=io.BytesIO(content)) as tar:
        contents = archive.read(tar)
        config, layer, manifest = contents.blobs
        for each in contents.blobs:
            raw = b"".join(archive.chunks(tar, each))
            assert (len(raw), f"sha256:{hashlib.sha256(raw).hexdigest()}") == (each.size, each.digest)
    assert contents.images[0].name == "docker.io/library/app:1"
    assert contents.images[0].digest == manifest.digest
    assert set(manifest.labels.values()) == {config.digest, layer.digest}


@pytest.mark.parametrize(
    ("tar", "words"),
    [
        pytest.param(opened({"readme": b"x"}), "neither index.json", id="no image at all"),
        pytest.param(opened({"manifest.json": b"{"}), "broken", id="a manifest that is not JSON"),
        pytest.param(opened({"manifest.json": b'[{"Config":"c"}]'}), "not there", id="a config that is missing"),
        pytest.param(oci(descriptor(MANIFEST_BLOB, MANIFEST)), "annotation", id="an image without a name"),
        pytest.param(oci(named("latest")), "annotation", id="an image with a bare tag for a name"),
    ],
)
def test_what_is_no_image_is_refused_with_the_reason(tar: tarfile.TarFile, words: str) -> None:
    with pytest.raises(archive.NotAnImage, match=words):
        archive.read(tar)
