"""Looking at a pod through the runtime: its sandboxes and containers with times, exit codes and termination messages.

What cannot change any more is asked for once.
"""

from __future__ import annotations

from pathlib import Path

import attrs

from edgek.agent.kubelet import labels
from edgek.agent.kubelet.lifecycle import Seen
from edgek.agent.runtime.runtime import ContainerStatus, Runtime, SandboxStatus

MESSAGE_MOST = 4096  # bytes
FALLBACK_LINES = 80
FALLBACK_BYTES = 2048


class Observer:
    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._containers: dict[str, ContainerStatus] = {}
        self._sandboxes: dict[str, SandboxStatus] = {}
        self._owner: dict[str, str] = {}  # id -> pod uid

    def owner(self, identity: str) -> str:
        """The uid of the pod that this sandbox or container was last seen with; empty when it was not."""
        return self._owner.get(identity, "")

    async def uids(self) -> set[str]:
        """All pods of which the runtime has anything."""
        return {sandbox.uid for sandbox in await self._runtime.sandboxes()}

    async def look(self, uid: str) -> Seen:
        boxes = [await self._sandbox(found) for found in await self._runtime.sandboxes(uid=uid)]
        containers = []
        for box in boxes:
            for found in await self._runtime.containers(sandbox_id=box.id):
                known = await self._container(found)
                if known is not None:
                    containers.append(known)
        self._remember(uid, boxes, containers)
        return Seen.of(boxes, containers)

    def forget(self, uid: str) -> None:
        for identity in [identity for identity, owner in self._owner.items() if owner == uid]:
            del self._owner[identity]
            self._containers.pop(identity, None)
            self._sandboxes.pop(identity, None)

    async def _sandbox(self, found: SandboxStatus) -> SandboxStatus:
        known = self._sandboxes.get(found.id)
        if known is None or known.ready != found.ready:
            known = await self._runtime.sandbox(found.id) or found
            self._sandboxes[found.id] = known
        return known

    async def _container(self, found: ContainerStatus) -> ContainerStatus | None:
        known = self._containers.get(found.id)
        if known is None or known.state != found.state:
            known = await self._runtime.container(found.id)
            if known is None:
                return None
            if known.state == "exited":
                known = attrs.evolve(known, message=termination_message(known))
            self._containers[found.id] = known
        return known

    def _remember(self, uid: str, boxes: list[SandboxStatus], containers: list[ContainerStatus]) -> None:
        now = {box.id for box in boxes} | {container.id for container in containers}
        for identity in [identity for identity, owner in self._owner.items() if owner == uid and identity not in now]:
            del self._owner[identity]
            self._containers.pop(identity, None)
            self._sandboxes.pop(identity, None)
        self._owner.update(dict.fromkeys(now, uid))


def termination_message(container: ContainerStatus) -> str:
    """What the container left for us, or the runtime's own word, or (where it is asked for) the end of its log."""
    file = container.annotations.get(labels.MESSAGE_FILE)
    text = _head(Path(file), MESSAGE_MOST) if file else ""
    if text:
        return text
    failed = container.exit_code != 0
    if failed and container.annotations.get(labels.MESSAGE_POLICY) == "FallbackToLogsOnError" and container.log_path:
        return _log_tail(Path(container.log_path))
    return container.message


def _head(file: Path, most: int) -> str:
    try:
        with file.open("rb") as content:
            return content.read(most).decode(errors="replace")
    except OSError:
        return ""


def _log_tail(file: Path) -> str:
    try:
        with file.open("rb") as log:
            log.seek(max(0, file.stat().st_size - 4 * FALLBACK_BYTES))
            lines = log.read().splitlines()[-FALLBACK_LINES:]
    except OSError:
        return ""
    text = b""
    for line in lines:
        parts = line.split(b" ", 3)
        if len(parts) == 4:
            text += parts[3] + (b"\n" if parts[2] == b"F" else b"")
    return text[-FALLBACK_BYTES:].decode(errors="replace")
