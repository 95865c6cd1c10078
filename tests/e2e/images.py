"""Container images made from this machine's own programs: no registry, no download.

``web`` is a real nginx with a shell, curl, tar and the usual small programs, so that exec, cp and name look-ups from inside a pod are real too.
An image is an OCI archive with one layer, laid out by the image specification v1.
"""

from __future__ import annotations

import hashlib
import io
import json
import platform
import shutil
import subprocess
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path

ARCHITECTURE = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
TOOLS = (
    "sh",
    "cat",
    "ls",
    "sleep",
    "echo",
    "env",
    "id",
    "hostname",
    "tar",
    "curl",
    "getent",
    "head",
    "wc",
    "dd",
    "touch",
    "mkdir",
    "rm",
    "grep",
    "date",
    "sha256sum",
    "stat",
    "kill",
    "true",
    "false",
    "seq",
    "mount",
    "df",
    "test",
)
NGINX_CONF = """
worker_processes 1;
error_log /dev/stderr notice;
pid /run/nginx.pid;
events { worker_connections 256; }
http {
    access_log /dev/stdout;
    client_body_temp_path /tmp/body; proxy_temp_path /tmp/proxy; fastcgi_temp_path /tmp/fastcgi; uwsgi_temp_path /tmp/uwsgi; scgi_temp_path /tmp/scgi;
    server { listen 80; root /srv; location = /host { default_type text/plain; return 200 "$hostname VERSION\\n"; } }
}
"""


def libraries(programs: Sequence[Path]) -> set[Path]:
    """What the dynamic linker would load for these programs, itself included."""
    found: set[Path] = set()
    for program in programs:
        listed = subprocess.run(["ldd", program], capture_output=True, text=True, check=False).stdout
        found |= {Path(word) for word in listed.split() if word.startswith("/")}
    return found


def program(name: str) -> Path:
    path = shutil.which(name)
    assert path, f"this machine has no {name}"
    return Path(path)


def layer(programs: Sequence[str], files: Mapping[str, str], folders: Sequence[str] = ()) -> bytes:
    """A root filesystem as a tar: the programs at their usual places with their libraries, and text files."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, target in (("bin", "usr/bin"), ("sbin", "usr/sbin"), ("lib", "usr/lib"), ("lib64", "usr/lib64")):
            link = tarfile.TarInfo(name)
            link.type, link.linkname = tarfile.SYMTYPE, target
            tar.addfile(link)
        for folder in ("tmp", "run", "etc", "srv", "proc", "sys", "dev", "root", *folders):
            entry = tarfile.TarInfo(folder)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o1777 if folder == "tmp" else 0o755
            tar.addfile(entry)
        paths = {name: program(name) for name in programs}
        for name, path in sorted(paths.items()):
            _add(tar, f"usr/{'sbin' if name == 'nginx' else 'bin'}/{name}", path.read_bytes(), 0o755)
        for library in sorted(libraries(list(paths.values()))):
            place = library.as_posix().lstrip("/")
            _add(tar, place if place.startswith("usr/") else f"usr/{place}", library.read_bytes(), 0o755)
        for name, text in sorted(files.items()):
            _add(tar, name.lstrip("/"), text.encode(), 0o644)
    return out.getvalue()


def archive(
    path: Path, reference: str, root: bytes, *, command: Sequence[str], ports: Sequence[str] = (), user: str = "", env: Sequence[str] = ()
) -> Path:
    """Write an OCI archive with one uncompressed layer and this reference."""
    blobs: dict[str, bytes] = {}

    def blob(content: bytes, media_type: str) -> dict[str, object]:
        digest = hashlib.sha256(content).hexdigest()
        blobs[digest] = content
        return {"mediaType": f"application/vnd.oci.image.{media_type}", "digest": f"sha256:{digest}", "size": len(content)}

    layer_entry = blob(root, "layer.v1.tar")
    runs = {"Entrypoint": list(command), "Env": ["PATH=/usr/sbin:/usr/bin", *env], "ExposedPorts": {port: {} for port in ports}, "User": user}
    config = {"architecture": ARCHITECTURE, "os": "linux", "config": runs, "rootfs": {"type": "layers", "diff_ids": [layer_entry["digest"]]}}
    config_entry = blob(json.dumps(config).encode(), "config.v1+json")
    manifest = {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json", "config": config_entry, "layers": [layer_entry]}
    manifest_entry = blob(json.dumps(manifest).encode(), "manifest.v1+json")
    manifest_entry["annotations"] = {"io.containerd.image.name": reference, "org.opencontainers.image.ref.name": reference.rpartition(":")[2]}
    index = {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": [manifest_entry]}
    with tarfile.open(path, "w") as tar:
        _add(tar, "oci-layout", b'{"imageLayoutVersion":"1.0.0"}', 0o644)
        _add(tar, "index.json", json.dumps(index).encode(), 0o644)
        for digest, content in blobs.items():
            _add(tar, f"blobs/sha256/{digest}", content, 0o644)
    return path


def web(path: Path, reference: str, version: str = "one") -> Path:
    """nginx on port 80: ``/`` answers the version, ``/host`` the pod's name and the version."""
    users = "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/sh\n"
    files = {
        "etc/passwd": users,
        "etc/group": "root:x:0:\nnogroup:x:65534:\n",
        "etc/nsswitch.conf": "hosts: files dns\npasswd: files\ngroup: files\n",
        "etc/nginx/nginx.conf": "user root;" + NGINX_CONF.replace("VERSION", version),
        "srv/index.html": f"{version}\n",
    }
    root = layer(("nginx", *TOOLS), files, ("var", "var/log", "var/log/nginx", "var/lib", "var/lib/nginx"))
    return archive(path, reference, root, command=["nginx", "-c", "/etc/nginx/nginx.conf", "-g", "daemon off;"], ports=("80/tcp",))


def _add(tar: tarfile.TarFile, name: str, content: bytes, mode: int) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(content), mode
    tar.addfile(entry, io.BytesIO(content))
