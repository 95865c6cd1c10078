"""Image archives made on the spot, of what the machine has: no registry is needed to test with real containers."""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
from pathlib import Path

import orjson

from edgek.agent.runtime import pause

BUSYBOX = Path("/bin/busybox")  # Debian's busybox-static
APPLETS = ("sh", "sleep", "cat", "echo", "ping", "true", "nc", "ls", "id", "stty", "env", "mkdir", "ip", "hostname", "kill", "head", "wc", "dd", "tr")


def docker_archive(reference: str, files: dict[str, bytes], links: dict[str, str] | None = None, env: tuple[str, ...] = ("PATH=/bin",)) -> bytes:
    """What ``docker save`` writes."""
    layer = _tar({name: (content, 0o755) for name, content in files.items()}, links or {})
    config = orjson.dumps({
        "architecture": pause.ARCHITECTURES[os.uname().machine],
        "os": "linux",
        "config": {"Env": list(env), "Cmd": ["sh"]},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}"]},
    })  # fmt: skip
    manifest = orjson.dumps([{"Config": "config.json", "RepoTags": [reference], "Layers": ["layer/layer.tar"]}])
    return _tar({"config.json": (config, 0o644), "layer/layer.tar": (layer, 0o644), "manifest.json": (manifest, 0o644)}, {})


def busybox(reference: str) -> bytes:
    """An image with a shell and small tools."""
    return docker_archive(reference, {"bin/busybox": BUSYBOX.read_bytes()}, {f"bin/{applet}": "busybox" for applet in APPLETS})


def _tar(files: dict[str, tuple[bytes, int]], links: dict[str, str]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, (content, mode) in files.items():
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(content), mode
            tar.addfile(member, io.BytesIO(content))
        for name, target in links.items():
            member = tarfile.TarInfo(name)
            member.type, member.linkname = tarfile.SYMTYPE, target
            tar.addfile(member)
    return out.getvalue()
