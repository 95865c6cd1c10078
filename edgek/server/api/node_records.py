"""Whose the names of joined nodes are: the Secrets ``NAME.node-password.edgek``, which ``joining.py`` makes and ``edgek node forget`` deletes.

A certificate that a node got by joining names the record (by its uid) on whose ground it was issued. It is good as long as that record is there: not
for a machine that was forgotten, nor for the former machine of a name that another one has taken since.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from edgek.client.joining import FORGOTTEN, PASSWORD_SUFFIX, SECRETS_NAMESPACE
from edgek.model import kinds
from edgek.model.errors import Unauthorized
from edgek.server.store.backend import Backend, Event, Key, Subscription


class NodeRecords:
    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    def check(self, node: str, record_uid: str) -> None:
        """Raises Unauthorized when the record of that node is another one, or none."""
        record = self._backend.get(Key(kinds.SECRET.storage, SECRETS_NAMESPACE, f"{node}{PASSWORD_SUFFIX}"))
        if record is None or record.uid != record_uid:
            raise Unauthorized(f"node {node!r} {FORGOTTEN}: start the agent with --token to join again")

    def on_forgotten(self, tell: Callable[[str], None]) -> Subscription:
        """Call ``tell`` with the name of every node that is forgotten from now on."""

        def hear(events: Sequence[Event]) -> None:
            for event in events:
                name = event.record.key.name
                if event.type == "DELETED" and name.endswith(PASSWORD_SUFFIX):
                    tell(name.removesuffix(PASSWORD_SUFFIX))

        return self._backend.watch(kinds.SECRET.storage, SECRETS_NAMESPACE, self._backend.revision, hear)
