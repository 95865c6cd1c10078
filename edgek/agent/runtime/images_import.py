"""Bring image archives into containerd without a registry: content, then the image that names it, below a lease so that nothing is collected between.

A compressed archive is unpacked beside itself first (a tar file has to be read back and forth); zstd needs the ``zstd`` program.
"""

from __future__ import annotations

import contextlib
import gzip
import secrets
import shutil
import tarfile
import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import IO

import trio

from edgek.agent.runtime import archive
from edgek.agent.runtime import messages_containerd as services
from edgek.agent.runtime.runtime import RuntimeFailure
from edgek.host import process
from edgek.host.message import Values
from edgek.host.rpc import Channel, Metadata, RpcError
from edgek.host.worker import Worker

CALL_TIMEOUT_S = 60.0
WRITE_TIMEOUT_S = 600.0  # one layer, on a slow card
UNPACK_TIMEOUT_S = 1800.0
ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"

_worker = Worker(1)  # one archive at a time: the disk is the bottleneck


async def load(channel: Channel, path: Path) -> Sequence[str]:
    """The references that came. Raises RuntimeFailure for a file that is no image archive, RpcError when containerd refuses."""
    try:
        async with _uncompressed(path) as stream:
            with tarfile.open(fileobj=stream, mode="r:") as tar:
                contents = await _worker.run(archive.read, tar)
                return await _store(channel, tar, contents)
    except (archive.NotAnImage, tarfile.TarError, OSError, EOFError) as error:
        raise RuntimeFailure(f"cannot import {path.name}: {error}") from error


async def _store(channel: Channel, tar: tarfile.TarFile, contents: archive.Contents) -> list[str]:
    lease = f"edgek-import-{secrets.token_hex(8)}"
    await channel.call(services.CREATE_LEASE, {"id": lease}, timeout_s=CALL_TIMEOUT_S)
    try:
        for blob in contents.blobs:
            await _write(channel, tar, blob, (("containerd-lease", lease),))
        for image in contents.images:
            await _name(channel, image)
    finally:
        with trio.move_on_after(CALL_TIMEOUT_S, shield=True), contextlib.suppress(RpcError):
            await channel.call(services.DELETE_LEASE, {"id": lease}, timeout_s=CALL_TIMEOUT_S)
    return [image.name for image in contents.images]


async def _write(channel: Channel, tar: tarfile.TarFile, blob: archive.Blob, lease: Metadata) -> None:
    ref = f"edgek-{blob.digest}"
    try:
        await channel.exchange(services.WRITE_CONTENT, _writes(tar, blob, ref), timeout_s=WRITE_TIMEOUT_S, metadata=lease)
    except RpcError as error:
        if error.code != "ALREADY_EXISTS":
            with contextlib.suppress(RpcError):
                await channel.call(services.ABORT_CONTENT, {"ref": ref}, timeout_s=CALL_TIMEOUT_S)
            raise


def _writes(tar: tarfile.TarFile, blob: archive.Blob, ref: str) -> Iterator[Values]:
    """Read from the archive by the thread that sends."""
    offset = 0
    for chunk in archive.chunks(tar, blob):
        yield {"action": services.WRITE, "ref": ref, "total": blob.size, "expected": blob.digest, "offset": offset, "data": chunk}
        offset += len(chunk)
    yield {"action": services.COMMIT, "ref": ref, "total": blob.size, "expected": blob.digest, "offset": offset, "labels": blob.labels}


async def _name(channel: Channel, image: archive.Named) -> None:
    target = {"media_type": image.media_type, "digest": image.digest, "size": image.size}
    wanted = {"image": {"name": image.name, "target": target}}
    try:
        await channel.call(services.CREATE_IMAGE, wanted, timeout_s=CALL_TIMEOUT_S)
    except RpcError as error:
        if error.code != "ALREADY_EXISTS":
            raise
        await channel.call(services.UPDATE_IMAGE, wanted, timeout_s=CALL_TIMEOUT_S)


@contextlib.asynccontextmanager
async def _uncompressed(path: Path) -> AsyncIterator[IO[bytes]]:
    with path.open("rb") as packed:
        magic = packed.read(4)
        packed.seek(0)
        if magic.startswith(archive.GZIP_MAGIC):
            with tempfile.TemporaryFile(dir=path.parent) as plain:
                await _worker.run(_gunzip, packed, plain)
                yield plain
        elif magic == ZSTD_MAGIC:
            with tempfile.TemporaryDirectory(dir=path.parent, prefix=".") as folder:
                target = Path(folder, "plain.tar")
                await _unzstd(path, target)
                with await _worker.run(_opened, target) as plain:
                    yield plain
        else:
            yield packed


def _opened(path: Path) -> IO[bytes]:
    return path.open("rb")


def _gunzip(packed: IO[bytes], plain: IO[bytes]) -> None:
    with gzip.open(packed) as stream:
        shutil.copyfileobj(stream, plain, archive.CHUNK_BYTES)
    plain.seek(0)


async def _unzstd(path: Path, target: Path) -> None:
    program = shutil.which("zstd")
    if program is None:
        raise RuntimeFailure(f"{path.name} is compressed with zstd and the program zstd is not installed: install it, or use gzip")
    done = await process.run([program, "--decompress", "--quiet", "-o", target, path], timeout_s=UNPACK_TIMEOUT_S)
    if done.returncode:
        raise RuntimeFailure(f"cannot unpack {path.name}: {done.stderr.decode(errors='replace').strip()}")
