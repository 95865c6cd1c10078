"""A container registry on loopback, in a thread: serves image archives, with a password where one is given."""

from __future__ import annotations

import base64
import contextlib
import fcntl
import io
import select
import socket
import struct
import tarfile
import termios
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Literal

import attrs

from edgek.agent.runtime import archive

BIG_BYTES = 50_000  # a blob of that size is a layer


@attrs.frozen
class Break:
    """After so many bytes of a layer the connection is reset, or nothing comes any more until the client hangs up; or it comes bit by bit."""

    after: int
    how: Literal["reset", "silence", "slow"] = "reset"


@attrs.define
class Registry:
    address: str = ""
    password: str = ""  # of the user "robot"; empty: everybody may pull
    manifests: dict[str, tuple[str, bytes]] = attrs.field(factory=dict)  # by "name:tag" and "name@digest"
    blobs: dict[str, bytes] = attrs.field(factory=dict)
    asked: list[str] = attrs.field(factory=list)
    breaks: list[Break] = attrs.field(factory=list)  # what happens to the next layers, in their order
    sent: list[tuple[str, int, int]] = attrs.field(factory=list)  # of layers: digest, first byte, how many

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


def unread(connection: socket.socket) -> int:
    """Bytes that the other side has not acknowledged yet."""
    return int.from_bytes(fcntl.ioctl(connection, termios.TIOCOUTQ, bytes(4)), "little")


@contextlib.contextmanager
def open_registry(password: str = "") -> Iterator[Registry]:
    registry = Registry(password=password)

    class Handler(BaseHTTPRequestHandler):
        default_request_version = "HTTP/1.0"  # a client that tries TLS first is answered so that it understands and falls back

        def do_GET(self) -> None:
            status, headers, body = registry.answer(self.path, self.headers.get("Authorization", ""))
            first = 0
            is_layer = len(body) > BIG_BYTES and self.command == "GET"
            if is_layer and "Range" in self.headers:
                first = int(self.headers["Range"].removeprefix("bytes=").partition("-")[0])
                status, headers = 206, {**headers, "Content-Range": f"bytes {first}-{len(body) - 1}/{len(body)}"}
                body = body[first:]
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            broken = registry.breaks.pop(0) if is_layer and registry.breaks else None
            if is_layer:
                registry.sent.append((self.path.rpartition("/")[2], first, broken.after if broken else len(body)))
            if broken:
                self._break(body, broken)
            elif self.command != "HEAD":
                self.wfile.write(body)

        def _break(self, body: bytes, broken: Break) -> None:
            if broken.how == "slow":
                for start in range(0, len(body), broken.after):
                    self.wfile.write(body[start : start + broken.after])
                    select.select([], [], [], 0.25)
                return
            self.wfile.write(body[: broken.after])
            self.wfile.flush()
            if broken.how == "silence":
                self.connection.recv(1)  # until the client hangs up
            while unread(self.connection):  # a reset overtakes what was sent before it
                select.select([], [], [], 0.001)
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            socket.close(self.connection.detach())  # at once: http.server would say goodbye first
            self.close_connection = True

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
