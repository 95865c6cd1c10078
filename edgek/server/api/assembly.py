"""An Api from its parts, and serving it: what ``roles`` and the tests call."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable, Mapping, Sequence

import trio

from edgek.client.node import NodeDirectory
from edgek.host import tls
from edgek.model import kinds
from edgek.server.api import admission, http
from edgek.server.api.admission.base import Defaults
from edgek.server.api.app import Api
from edgek.server.api.authn import Authenticator
from edgek.server.api.authz import Authorizer
from edgek.server.api.discovery import Discovery
from edgek.server.api.health import Check, Health
from edgek.server.api.http import Handler
from edgek.server.api.openapi import OpenApi
from edgek.server.api.pages import Pages
from edgek.server.api.routes import Registry
from edgek.server.api.storage import Objects
from edgek.server.api.streams.connectors import connectors
from edgek.server.api.tokens import ServiceAccountTokens
from edgek.server.resources.allocators import DEFAULT_NODE_PORTS, DEFAULT_SERVICE_CIDR, Allocators
from edgek.server.resources.unserved import Notices, no_notices
from edgek.server.store.backend import Backend


def _fine() -> str:
    return ""


# The names are upstream's: monitoring asks for them.
LIVE_CHECKS: Mapping[str, Check] = {"ping": _fine, "log": _fine, "etcd": _fine}


def assemble(
    backend: Backend,
    *,
    authenticator: Authenticator,
    authorizer: Authorizer,
    tokens: ServiceAccountTokens,
    service_cidr: str = DEFAULT_SERVICE_CIDR,
    node_ports: range = DEFAULT_NODE_PORTS,
    nodes: NodeDirectory | None = None,
    ready: Mapping[str, Check] | None = None,
    notices: Notices = no_notices,
    defaults: Defaults | None = None,
) -> Api:
    """``nodes`` are asked for what needs a node (logs, exec, port-forward, proxy); ``ready`` are checks beyond being alive; ``notices``
    say what a cluster will not do with an object (``resources.unserved``); ``defaults`` are what admission fills in.
    """
    registry = Registry()
    store = Objects(backend, registry)
    pages = Pages(registry, Discovery(registry), OpenApi(registry), Health(LIVE_CHECKS, ready or {}), tokens)
    return Api(
        backend,
        authenticator=authenticator,
        authorizer=authorizer,
        tokens=tokens,
        admission=admission.steps(authorizer, defaults),
        allocators=Allocators.of(service_cidr, node_ports, store.find(kinds.SERVICE)),
        pages=pages,
        registry=registry,
        connectors=connectors(store, nodes) if nodes else None,
        notices=notices,
    )


async def serve(
    api: Api,
    listeners: Sequence[socket.socket],
    context: ssl.SSLContext | tls.Serving | None,
    *,
    before: Callable[[Handler], Handler] = lambda handler: handler,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Answer on bound sockets until cancelled. What stands in a ``Serving`` may change at any time.

    ``before`` puts somebody in front who answers what is no part of the API.
    """
    await http.serve(before(api.handle), listeners, context, task_status=task_status)
