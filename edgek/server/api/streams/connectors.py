"""Who answers what needs a node, by subresource. This is all that the way of a request (``api/app.py``) sees of this package."""

from __future__ import annotations

from collections.abc import Mapping

from edgek.client.node import NodeDirectory
from edgek.server.api.app import Connector
from edgek.server.api.storage import Objects
from edgek.server.api.streams.log import Logs
from edgek.server.api.streams.portforward import PortForward
from edgek.server.api.streams.proxy import Proxy
from edgek.server.api.streams.remote import Remote


def connectors(store: Objects, nodes: NodeDirectory) -> Mapping[str, Connector]:
    remote = Remote(store, nodes)
    return {"log": Logs(store, nodes), "exec": remote, "attach": remote, "portforward": PortForward(store, nodes), "proxy": Proxy(store, nodes)}
