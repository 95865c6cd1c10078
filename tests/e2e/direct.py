"""The API asked directly, from outside the node's namespace: what writes quickly, and knows exactly what was acknowledged.

kubectl takes a tenth of a second for each call and tries some again by itself; this does neither.
"""

from __future__ import annotations

import http.client
import json
import ssl
from pathlib import Path
from typing import Any

from tests.e2e.cluster import Cluster

TIMEOUT_S = 30.0
CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"
DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"
PODS = "/api/v1/namespaces/default/pods"
MERGE = "application/merge-patch+json"


class Unanswered(Exception):
    """The connection broke: what was asked for was done, or it was not."""


class Refused(Exception):
    """The API said no."""

    def __init__(self, status: int, body: dict[str, Any]) -> None:
        super().__init__(f"{status} {body.get('reason')}: {body.get('message')}")
        self.status = status


def tls(cluster: Cluster, certificate: Path | None = None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(cluster.data / "server" / "tls" / "server-ca.crt"))
    if certificate:
        context.load_cert_chain(certificate)
    return context


class Direct:
    """The administrator, or who the token or the certificate says. One connection a request, so that a dead server is noticed at once."""

    def __init__(self, cluster: Cluster, *, token: str = "", certificate: Path | None = None, anonymous: bool = False) -> None:
        self._cluster = cluster
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        mine = certificate or (None if token or anonymous else cluster.data / "server" / "tls" / "admin.pem")
        self._context = tls(cluster, mine)

    def ask(self, method: str, path: str, body: dict[str, Any] | None = None, *, content_type: str = "application/json") -> dict[str, Any]:
        """The decoded answer. Raises Unanswered, Refused."""
        connection = http.client.HTTPSConnection(self._cluster.inside_ip, 6443, timeout=TIMEOUT_S, context=self._context)
        try:
            payload = None if body is None else json.dumps(body)
            connection.request(method, path, payload, {**self._headers, "Content-Type": content_type, "Accept": "application/json"})
            answer = connection.getresponse()
            found = answer.read()
        except (OSError, http.client.HTTPException) as exc:
            raise Unanswered(f"{method} {path}: {exc!r}") from None
        finally:
            connection.close()
        decoded: dict[str, Any] = json.loads(found) if found.startswith(b"{") else {"text": found.decode(errors="replace")}
        if answer.status >= 400:
            raise Refused(answer.status, decoded)
        return decoded

    def get(self, path: str) -> dict[str, Any]:
        return self.ask("GET", path)

    def create(self, path: str, obj: dict[str, Any]) -> dict[str, Any]:
        return self.ask("POST", path, obj)

    def merge(self, path: str, patch: dict[str, Any]) -> dict[str, Any]:
        return self.ask("PATCH", path, patch, content_type=MERGE)

    def delete(self, path: str) -> dict[str, Any]:
        return self.ask("DELETE", path)


def revision(obj: dict[str, Any]) -> int:
    return int(obj["metadata"]["resourceVersion"])
