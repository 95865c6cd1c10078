"""A container registry on loopback, in a thread: serves image archives, with a password where one is given."""

from __future__ import annotations

import base64
import contextlib
import io
import tarfile
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import attrs

from edgek.agent.runtime import archive


@attrs.define
class Registry:
    address: str = ""
    password: str = ""  # of the user "robot"; empty: everybody may pull
    manifests: dict[str, tuple[str, bytes]] = attrs.field(factory=dict)  # by "name:tag" and "name@digest"
    blobs: dict[str, bytes] = attrs.field(factory=dict)
    asked: list[str] = attrs.field(factory=list)

    def add(self, name: str, image: bytes) -> None:
        """``name`` is repository and tag without the registry; ``image`` what ``docker save`` writes."""
        with tarfile.open(fileobj=io.BytesIO(image)) as tar:
            contents = archive.read(tar)
            self.blobs.update({blob.digest: b"".join(archive.chunks(tar, blob)) for blob in contents.blobs})
        found = contents.images[0]
        for key in (name, f"{name.rpartition(':')[0]}@{found.digest}"):
            self.manifests[key] = (found.media_type, self.blobs[found.digest])

    def answer(self, path: str, authorization: str) -> tuple[int, dict[str, str], bytes]:
        self.asked.append(path)
        expected = base64.b64encode(f"robot:{self.password}".encode()).decode()
        if self.password and authorization != f"Basic {expected}":
            return 401, {"WWW-Authenticate": 'Basic realm="test"'}, b""
        parts = path.partition("?")[0].removeprefix("/v2/")
        if not parts:
            return 200, {}, b"{}"
        repository, _, rest = parts.rpartition("/manifests/") if "/manifests/" in parts else parts.rpartition("/blobs/")
        if "/manifests/" in parts:
            found = self.manifests.get(f"{repository}@{rest}" if rest.startswith("sha256:") else f"{repository}:{rest}")
            if found is not None:
                return 200, {"Content-Type": found[0]}, found[1]
        elif rest in self.blobs:
            return 200, {"Content-Type": "application/octet-stream"}, self.blobs[rest]
        return 404, {}, b'{"errors":[{"code":"MANIFEST_UNKNOWN"}]}'


@contextlib.contextmanager
def open_registry(password: str = "") -> Iterator[Registry]:
    registry = Registry(password=password)

    class Handler(BaseHTTPRequestHandler):
        default_request_version = "HTTP/1.0"  # a client that tries TLS first is answered so that it understands and falls back

        def do_GET(self) -> None:
            status, headers, body = registry.answer(self.path, self.headers.get("Authorization", ""))
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        do_HEAD = do_GET  # noqa: N815  the name http.server looks for

        def log_message(self, *_: object) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    registry.address = f"127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield registry
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
