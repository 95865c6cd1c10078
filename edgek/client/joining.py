"""What a node and a server say to each other when the node joins, and what the node keeps of it. Values and their JSON; no I/O.

A node asks for the authority without trusting anybody (``AUTHORITY_PATH``) and holds it against the hash in its token. Only then, over TLS that this
authority vouches for, it sends the token with an ``Application`` and gets a ``Welcome``. Later it proves itself with the certificate that it got.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import attrs
import orjson

from edgek.model.errors import BadRequest

AUTHORITY_PATH = "/cacerts"  # as k3s has it
JOIN_PATH = "/edgek/v1/join"
RENEW_PATH = "/edgek/v1/renew"
LINK_PATH = "/edgek/v1/link"
LINK_PROTOCOL = "edgek-link"
TELL_SERVERS = "servers"  # what the server says over a link when its addresses have changed, or who vouches for it
SERVERS_HEADER = "edgek-servers"  # of its answer to who dials the link: the addresses
AUTHORITIES_HEADER = "edgek-authorities"  # and the hash of the PEM text with those that vouch for it
AGENT_HEADER = "edgek-agent"  # of who dials: a number that this process of the agent drew by lot
STILL_THERE = "still there"  # what the server asks over a link when its node dials another. Whatever comes back is an answer

# Where the cluster keeps who may join, and whose a node's name is.
SECRETS_NAMESPACE = "kube-system"
BOOTSTRAP_TYPE = "bootstrap.kubernetes.io/token"
BOOTSTRAP_PREFIX = "bootstrap-token-"
PASSWORD_SUFFIX = ".node-password.edgek"
FOLLOWED = "edgek.io/authorities"  # an annotation of that: by which authorities the node was last given certificates

# By these words a node knows that its certificate is of no use any more.
FORGOTTEN = "was forgotten, or is another machine by now"

# The name by which nodes know the server, whatever address they dial: so it may stand behind a router, and may move.
SERVER_NAME = "kubernetes.default.svc"

T = TypeVar("T")


@attrs.frozen
class Application:
    """``password`` is the node's own secret: who knows it is the machine that took the name before. Requests for certificates are PEM."""

    node: str
    password: str
    client_request: str
    serving_request: str
    addresses: tuple[str, ...] = ()

    def encode(self) -> bytes:
        return orjson.dumps(attrs.asdict(self))

    @classmethod
    def decode(cls, raw: bytes) -> Application:
        """Raises BadRequest."""
        names = ("node", "password", "client_request", "serving_request")
        return _decoded(raw, lambda found: cls(**_texts(found, *names), addresses=_listed(found, "addresses")))


@attrs.frozen
class Cluster:
    """What a node has to know of its cluster. ``servers`` are URLs."""

    servers: tuple[str, ...]
    cluster_cidr: str
    service_cidr: str
    cluster_dns: str
    cluster_domain: str
    flannel_backend: str

    def encode(self) -> bytes:
        return orjson.dumps(attrs.asdict(self))

    @classmethod
    def decode(cls, raw: bytes) -> Cluster:
        """Raises BadRequest."""
        return _decoded(raw, cls.of)

    @classmethod
    def of(cls, found: dict[str, Any]) -> Cluster:
        return cls(
            servers=_listed(found, "servers"), **_texts(found, "cluster_cidr", "service_cidr", "cluster_dns", "cluster_domain", "flannel_backend")
        )


@attrs.frozen
class Welcome:
    """Certificates for the node's keys, whom to trust, and the cluster. All PEM. ``server_authority`` is empty where a server does not say it yet."""

    client_certificate: str
    serving_certificate: str
    client_authority: str
    cluster: Cluster
    server_authority: str = ""

    def encode(self) -> bytes:
        return orjson.dumps(attrs.asdict(self))

    @classmethod
    def decode(cls, raw: bytes) -> Welcome:
        """Raises BadRequest."""
        names = ("client_certificate", "serving_certificate", "client_authority", "server_authority")
        return _decoded(raw, lambda found: cls(**_texts({"server_authority": "", **found}, *names), cluster=Cluster.of(found["cluster"])))


def _decoded(raw: bytes, make: Callable[[dict[str, Any]], T]) -> T:
    try:
        return make(orjson.loads(raw))
    except (KeyError, TypeError, ValueError) as exc:
        raise BadRequest(f"this is not what a joining node or its server says: {exc}") from None


def _texts(found: dict[str, Any], *names: str) -> dict[str, str]:
    values = {name: found[name] for name in names}
    if not all(isinstance(value, str) for value in values.values()):
        raise TypeError(f"{', '.join(names)} are texts")
    return values


def _listed(found: dict[str, Any], name: str) -> tuple[str, ...]:
    return tuple(str(each) for each in found[name])
