"""Which pod, which container, on which node: what every stream into a pod has to know first. Refusals are in upstream's words."""

from __future__ import annotations

from collections.abc import Sequence

from edgek.client.node import ContainerRef
from edgek.model import errors, kinds, objects
from edgek.model.objects import Object
from edgek.server.api import responses
from edgek.server.api.call import Call
from edgek.server.api.storage import Objects


def pod_of(call: Call, store: Objects) -> Object:
    """Raises NotFound."""
    found = store.get(kinds.POD, call.name, call.namespace)
    if found is None:
        raise responses.not_found(kinds.POD, call.name)
    return found


def node_of(pod: Object) -> str:
    """Raises BadRequest for a pod that no node has yet."""
    node: str = (pod.get("spec") or {}).get("nodeName") or ""
    if not node:
        raise errors.BadRequest(f"pod {objects.name(pod)} does not have a host assigned")
    return node


def container_of(pod: Object, wanted: str) -> ContainerRef:
    """The container that is asked for, or the only one. Raises BadRequest."""
    spec = pod.get("spec") or {}
    plain, init, ephemeral = (_names(spec.get(field)) for field in ("containers", "initContainers", "ephemeralContainers"))
    name = objects.name(pod)
    if not wanted:
        if len(plain) != 1:
            raise errors.BadRequest(f"a container name must be specified for pod {name}{_choice(plain, init, ephemeral)}")
        wanted = plain[0]
    elif wanted not in (*plain, *init, *ephemeral):
        raise errors.BadRequest(f"container {wanted} is not valid for pod {name}")
    return ContainerRef(objects.namespace(pod), name, objects.uid(pod), wanted)


def _names(containers: Sequence[Object] | None) -> list[str]:
    return [container["name"] for container in containers or ()]


def _choice(plain: Sequence[str], init: Sequence[str], ephemeral: Sequence[str]) -> str:
    if not plain:
        return ""
    text = f", choose one of: [{' '.join(plain)}]"
    if init:
        text += f" or one of the init containers: [{' '.join(init)}]"
    if ephemeral:
        text += f" or one of the ephemeral containers: [{' '.join(ephemeral)}]"
    return text
