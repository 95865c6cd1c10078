"""Raw requests over TLS connections that stay open: as little of a client as can be, so that what is measured is the server."""

from __future__ import annotations

import base64
import socket
import ssl
import tempfile
from pathlib import Path
from typing import Any

import attrs
import orjson
import yaml

Object = dict[str, Any]


@attrs.frozen
class Access:
    """Where the API is and what it takes to be let in. An empty ``token`` means: by the certificate in ``context``."""

    host: str
    port: int
    context: ssl.SSLContext
    token: str = ""

    def connect(self) -> Connection:
        raw = socket.create_connection((self.host, self.port))
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return Connection(self, self.context.wrap_socket(raw, server_hostname=self.host))

    def as_account(self, namespace: str = "default", name: str = "default") -> Access:
        """The same API with a token of this service account, who may do everything from now on."""
        with self.connect() as admin:
            answer = admin.ask("POST", f"/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token", {"spec": {"expirationSeconds": 7200}}, 201)
            role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"}
            subject = {"kind": "ServiceAccount", "namespace": namespace, "name": name}
            binding = {"metadata": {"name": f"bench-{name}"}, "roleRef": role, "subjects": [subject]}
            admin.ask("POST", "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", binding)
        context = ssl.create_default_context(cadata=ssl.DER_cert_to_PEM_cert(self.context.get_ca_certs(binary_form=True)[0]))
        return attrs.evolve(self, context=context, token=answer["status"]["token"])


def administrator(kubeconfig: Path, host: str, port: int = 6443) -> Access:
    entry = yaml.safe_load(kubeconfig.read_text())
    cluster, user = entry["clusters"][0]["cluster"], entry["users"][0]["user"]
    context = ssl.create_default_context(cadata=base64.b64decode(cluster["certificate-authority-data"]).decode())
    with tempfile.NamedTemporaryFile() as pem:  # the ssl module takes certificates from files only
        pem.write(base64.b64decode(user["client-certificate-data"]) + b"\n" + base64.b64decode(user["client-key-data"]))
        pem.flush()
        context.load_cert_chain(pem.name)
    return Access(host, port, context)


class Connection:
    """``ask`` does one request; ``send`` and ``receive`` are its halves, for many at once."""

    def __init__(self, access: Access, sock: ssl.SSLSocket) -> None:
        self.sock = sock
        authorization = f"Authorization: Bearer {access.token}\r\n" if access.token else ""
        self._headers = f"Host: {access.host}\r\n{authorization}Accept: application/json\r\nUser-Agent: bench\r\nContent-Type: application/json\r\n"

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *error: object) -> None:
        self.sock.close()

    def encoded(self, method: str, path: str, body: object = None) -> bytes:
        raw = b"" if body is None else orjson.dumps(body)
        return f"{method} {path} HTTP/1.1\r\n{self._headers}Content-Length: {len(raw)}\r\n\r\n".encode() + raw

    def ask(self, method: str, path: str, body: object = None, expected: int = 0) -> Object:
        """The answer's object. With ``expected`` raises AssertionError for another status."""
        self.sock.sendall(self.encoded(method, path, body))
        status, answer = self.receive()
        assert not expected or status == expected, f"{method} {path}: {status} {answer[:400]!r}"
        decoded: Object = orjson.loads(answer)
        return decoded

    def receive(self) -> tuple[int, bytes]:
        """Status and body of one answer. Raises EOFError."""
        buffer = b""
        while b"\r\n\r\n" not in buffer:
            buffer += self._some()
        head, _, rest = buffer.partition(b"\r\n\r\n")
        status = int(head.split(b" ", 2)[1])
        length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
        if length:
            return status, self._rest(rest, int(length))
        return status, self._chunks(rest)

    def _rest(self, got: bytes, length: int) -> bytes:
        pieces, left = [got], length - len(got)
        while left > 0:
            pieces.append(self._some(1 << 20))
            left -= len(pieces[-1])
        return b"".join(pieces)

    def _chunks(self, got: bytes) -> bytes:
        """A body whose length the server did not know: a long list."""
        pieces = []
        while True:
            while b"\r\n" not in got:
                got += self._some()
            size, _, got = got.partition(b"\r\n")
            length = int(size, 16)
            chunk = self._rest(got, length + 2) if len(got) < length + 2 else got
            got = chunk[length + 2 :]
            if not length:
                return b"".join(pieces)
            pieces.append(chunk[:length])

    def _some(self, most: int = 65536) -> bytes:
        got = self.sock.recv(most)
        if not got:
            raise EOFError("the server closed the connection")
        return got


class Watch:
    """Events of one watch, one after another."""

    def __init__(self, access: Access, path: str) -> None:
        self._connection = access.connect()
        self._connection.sock.sendall(self._connection.encoded("GET", path))
        self._got = b""
        while b"\r\n\r\n" not in self._got:
            self._got += self._connection.sock.recv(65536)
        head, _, self._got = self._got.partition(b"\r\n\r\n")
        assert b" 200 " in head.partition(b"\r\n")[0], head
        self._lines = b""

    def next(self, timeout_s: float = 30.0) -> Object:
        """Raises TimeoutError."""
        self._connection.sock.settimeout(timeout_s)
        while b"\n" not in self._lines:
            self._feed()
        line, _, self._lines = self._lines.partition(b"\n")
        event: Object = orjson.loads(line)
        return event

    def close(self) -> None:
        self._connection.sock.close()

    def _feed(self) -> None:
        """One chunk more."""
        while b"\r\n" not in self._got:
            self._receive()
        size, _, self._got = self._got.partition(b"\r\n")
        length = int(size, 16)
        while len(self._got) < length + 2:
            self._receive()
        self._lines += self._got[:length]
        self._got = self._got[length + 2 :]

    def _receive(self) -> None:
        got = self._connection.sock.recv(65536)
        if not got:
            raise EOFError("the server ended the watch")
        self._got += got
