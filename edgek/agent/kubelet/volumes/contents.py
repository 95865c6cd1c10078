"""What files come out of a ConfigMap, a Secret or the downward API: which keys, under which names, with which modes."""

from __future__ import annotations

from typing import Any

from edgek.agent.kubelet.environment import ConfigError, contents, field, resource_field
from edgek.agent.kubelet.volumes.payload import Entry
from edgek.agent.kubelet.volumes.volume import Order, VolumeFailed
from edgek.model import objects
from edgek.model.kinds import Kind

DEFAULT_MODE = 0o644


async def of_object(order: Order, kind: Kind, name: str, source: Any, default_mode: int) -> dict[str, Entry]:
    """The chosen entries of a ConfigMap or Secret. Raises VolumeFailed where something that is not optional is missing."""
    obj = await order.find(kind, name)
    if obj is None:
        if source.get("optional"):
            return {}
        raise VolumeFailed(f'{kind.singular} "{name}" not found')
    every = contents(obj)
    if not source.get("items"):
        return {key: Entry(value, default_mode) for key, value in every.items()}
    chosen = {}
    for item in source["items"]:
        if item["key"] not in every:
            if source.get("optional"):
                continue
            raise VolumeFailed(f"references non-existent {kind.singular} key: {item['key']} in {objects.namespace(order.pod)}/{name}")
        chosen[item["path"]] = Entry(every[item["key"]], _mode(item, default_mode))
    return chosen


def of_downward(order: Order, items: Any, default_mode: int) -> dict[str, Entry]:
    found = {}
    for item in items or ():
        try:
            if item.get("fieldRef"):
                text = field(order.pod, item["fieldRef"]["fieldPath"], order.around)
            else:
                text = resource_field(order.pod, {}, item["resourceFieldRef"], order.around.allocatable)
        except ConfigError as exc:
            raise VolumeFailed(str(exc)) from None
        found[item["path"]] = Entry(text.encode(), _mode(item, default_mode))
    return found


def mode_of(source: Any) -> int:
    found = source.get("defaultMode")
    return DEFAULT_MODE if found is None else int(found)


def _mode(item: Any, default_mode: int) -> int:
    return default_mode if item.get("mode") is None else int(item["mode"])
