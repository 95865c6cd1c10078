"""The resources that a pod's running containers have been given, which its spec may want changed in place."""

from __future__ import annotations

from collections.abc import Mapping

from edgek.agent.kubelet import lifecycle
from edgek.agent.kubelet.lifecycle import Seen
from edgek.model.objects import Object


class Applied:
    """By container id. Where we have not given them ourselves, the API showed them before we started."""

    def __init__(self) -> None:
        self._given: dict[str, Object] = {}

    def to(self, pod: Object | None, seen: Seen) -> Mapping[str, Object]:
        """Of the containers that run now."""
        if pod is None:
            return {}
        specs = _specs(pod)
        running = [c for c in seen.containers if c.state == "running" and c.name in specs]
        self._given = {c.id: self._given.get(c.id) or shown(pod, c.id) or specs[c.name] for c in running}
        return self._given

    def give(self, pod: Object, container_id: str, name: str) -> None:
        """The container has what the spec asks for."""
        self._given[container_id] = _specs(pod)[name]

    def differ(self, pod: Object, seen: Seen) -> bool:
        """Whether some running container has been given something else than the spec asks for now."""
        specs = _specs(pod)
        return any(self._given[c.id] != specs[c.name] for c in seen.containers if c.id in self._given)


def shown(pod: Object, container_id: str) -> Object:
    """What the API shows that a container has been given."""
    for key in ("containerStatuses", "initContainerStatuses"):
        for status in (pod.get("status") or {}).get(key) or ():
            if str(status.get("containerID") or "").endswith(container_id):
                return dict(status.get("resources") or {})
    return {}


def _specs(pod: Object) -> dict[str, Object]:
    return {member.name: member.spec.get("resources") or {} for member in lifecycle.members(pod)}
