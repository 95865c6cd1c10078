"""The pause image, made here: a program of forty bytes that holds a pod's namespaces open, so that no registry is needed to start a pod.

The program ignores SIGCHLD (the kernel then reaps the orphans of a pod that shares its process namespace) and waits for ever. containerd ends it with
SIGKILL, so it handles nothing else.
"""

from __future__ import annotations

import hashlib
import io
import struct
import tarfile

import orjson

REFERENCE = "edgek.local/pause:1"
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}  # as the kernel names them, as images do

_BASE = 0x400000
_HEADERS_BYTES = 64 + 56  # one ELF header, one program header
_MACHINES = {"amd64": 62, "arm64": 183}
_IGNORE = struct.pack("<QQQQ", 1, 0, 0, 0)  # struct sigaction of the kernel: SIG_IGN, no flags, no restorer, empty mask

# rt_sigaction(SIGCHLD, ignore, NULL, 8); for (;;) pause();
_AMD64 = bytes.fromhex(
    "b80d000000"  # mov eax, 13
    "bf11000000"  # mov edi, 17
    "488d3517000000"  # lea rsi, [rip+23]: behind the code
    "31d2"  # xor edx, edx
    "41ba08000000"  # mov r10d, 8
    "0f05"  # syscall
    "b822000000"  # mov eax, 34
    "0f05"  # syscall
    "ebf7"  # jmp back to the mov
    "90909090"  # so that what follows is aligned
)
# rt_sigaction(SIGCHLD, ignore, NULL, 8); for (;;) ppoll(NULL, 0, NULL, NULL, 0);  arm64 has no pause()
_ARM64_WORDS = (
    0xD28010C8,  # mov x8, #134
    0xD2800220,  # mov x0, #17
    0x10000181,  # adr x1, +48: behind the code
    0xD2800002,  # mov x2, #0
    0xD2800103,  # mov x3, #8
    0xD4000001,  # svc #0
    0xD2800000,  # mov x0, #0
    0xD2800001,  # mov x1, #0
    0xD2800002,  # mov x2, #0
    0xD2800003,  # mov x3, #0
    0xD2800928,  # mov x8, #73
    0xD4000001,  # svc #0
    0x17FFFFFA,  # b back to the first mov of the loop
    0xD503201F,  # nop, so that what follows is aligned
)
_CODE = {"amd64": _AMD64, "arm64": struct.pack(f"<{len(_ARM64_WORDS)}I", *_ARM64_WORDS)}


def program(architecture: str) -> bytes:
    """A static ELF executable for ``amd64`` or ``arm64``. Raises KeyError for another."""
    body = _CODE[architecture] + _IGNORE
    size = _HEADERS_BYTES + len(body)
    identity = b"\x7fELF\x02\x01\x01".ljust(16, b"\0")  # 64 bit, little-endian, version 1
    header = struct.pack("<HHIQQQIHHHHHH", 2, _MACHINES[architecture], 1, _BASE + _HEADERS_BYTES, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    segment = struct.pack("<IIQQQQQQ", 1, 5, 0, _BASE, _BASE, size, size, 0x1000)  # load all of it, readable and executable
    return identity + header + segment + body


def archive(machine: str) -> bytes:
    """The image as an OCI layout in a tar file. ``machine`` is the kernel's name. Raises KeyError for one that has no program."""
    architecture = ARCHITECTURES[machine]
    layer = _tar({"pause": program(architecture)}, mode=0o755)
    config = _json({
        "architecture": architecture,
        "os": "linux",
        "config": {"Entrypoint": ["/pause"], "User": "65535:65535"},
        "rootfs": {"type": "layers", "diff_ids": [_digest(layer)]},
    })  # fmt: skip
    manifest = _json({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": _descriptor("application/vnd.oci.image.config.v1+json", config),
        "layers": [_descriptor("application/vnd.oci.image.layer.v1.tar", layer)],
    })  # fmt: skip
    entry = {
        **_descriptor("application/vnd.oci.image.manifest.v1+json", manifest),
        "platform": {"architecture": architecture, "os": "linux"},
        "annotations": {"io.containerd.image.name": REFERENCE},
    }
    blobs = {f"blobs/sha256/{_digest(blob).removeprefix('sha256:')}": blob for blob in (layer, config, manifest)}
    index = _json({"schemaVersion": 2, "manifests": [entry]})
    return _tar({"oci-layout": _json({"imageLayoutVersion": "1.0.0"}), "index.json": index, **blobs}, mode=0o644)


def _descriptor(media_type: str, content: bytes) -> dict[str, object]:
    return {"mediaType": media_type, "digest": _digest(content), "size": len(content)}


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def _json(value: object) -> bytes:
    return orjson.dumps(value)


def _tar(files: dict[str, bytes], mode: int) -> bytes:
    """The same bytes each time: no clock, no owner."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(content), mode
            tar.addfile(member, io.BytesIO(content))
    return out.getvalue()
