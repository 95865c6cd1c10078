"""Which EndpointSlices to write, so that they hold the wanted endpoints with as few writes as can be. Pure.

A slice holds endpoints of one address family that share their ports, at most ``SLICE_MOST``. Endpoints stay in the slice they are in; new ones
fill slices that are written anyway, then slices with room, then new slices.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from edgek.model import objects
from edgek.model.objects import Object

SLICE_MOST = 100  # endpoints of one slice, upstream's default
SERVICE_NAME = "kubernetes.io/service-name"
MANAGED_BY = "endpointslice.kubernetes.io/managed-by"

Endpoint = dict[str, Any]
Ports = tuple[tuple[str, int, str, str], ...]  # name, port, protocol, appProtocol


@attrs.frozen
class Frame:
    """What every slice of one owner looks like, but for its endpoints."""

    namespace: str
    prefix: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    owner: Mapping[str, Any]
    family: str


@attrs.define
class Plan:
    create: list[Object] = attrs.field(factory=list)
    update: list[Object] = attrs.field(factory=list)
    delete: list[Object] = attrs.field(factory=list)


def plan(frame: Frame, existing: Sequence[Object], wanted: Mapping[Ports, Sequence[Endpoint]]) -> Plan:
    """``existing`` are the slices of this owner and family. There is always one, if only an empty one."""
    made = Plan()
    spare = [each for each in existing if ports_of(each) not in wanted]
    for ports, endpoints in wanted.items():
        mine = [each for each in existing if ports_of(each) == ports]
        _plan_ports(frame, mine, spare, ports, endpoints, made)
    made.delete.extend(spare)
    if not wanted:
        _keep_one_empty(frame, made)
    return made


def ports_of(slice_: Object) -> Ports:
    return tuple(
        sorted(
            (each.get("name") or "", each.get("port") or 0, each.get("protocol") or "TCP", each.get("appProtocol") or "")
            for each in slice_.get("ports") or ()
        )
    )


def identity(endpoint: Endpoint) -> str:
    """The pod, or else the address, that an endpoint stands for."""
    return str((endpoint.get("targetRef") or {}).get("uid") or endpoint["addresses"][0])


def _plan_ports(frame: Frame, mine: Sequence[Object], spare: list[Object], ports: Ports, endpoints: Sequence[Endpoint], made: Plan) -> None:
    missing = {identity(each): each for each in endpoints}
    contents: list[tuple[Object, list[Endpoint]]] = []
    for slice_ in mine:
        had = [identity(each) for each in slice_.get("endpoints") or ()]
        contents.append((slice_, [missing.pop(name) for name in had if name in missing]))
    left = list(missing.values())
    # Those that change anyway first, then the fullest: few slices are touched, and they are filled.
    contents.sort(key=lambda entry: (not _differs(frame, entry[0], ports, entry[1]), -len(entry[1])))
    for _, kept in contents:
        room = SLICE_MOST - len(kept)
        kept.extend(left[:room])
        left = left[room:]
    while left:
        contents.append((spare.pop() if spare else {}, left[:SLICE_MOST]))
        left = left[SLICE_MOST:]
    for slice_, kept in contents:
        if not kept:
            made.delete.append(slice_)
        elif not slice_:
            made.create.append(_slice(frame, {}, ports, kept))
        elif _differs(frame, slice_, ports, kept):
            made.update.append(_slice(frame, slice_, ports, kept))


def _keep_one_empty(frame: Frame, made: Plan) -> None:
    if not made.delete:
        made.create.append(_slice(frame, {}, (), []))
        return
    kept = made.delete.pop(0)
    if _differs(frame, kept, (), []):
        made.update.append(_slice(frame, kept, (), []))


def _slice(frame: Frame, had: Object, ports: Ports, endpoints: Sequence[Endpoint]) -> Object:
    meta: dict[str, Any] = dict(had.get("metadata") or {"generateName": f"{frame.prefix}-", "namespace": frame.namespace})
    meta["labels"] = dict(frame.labels)
    meta["ownerReferences"] = [dict(frame.owner)]
    meta["annotations"] = {**objects.annotations(had), **frame.annotations} if had else dict(frame.annotations)
    if not meta["annotations"]:
        del meta["annotations"]
    made: dict[str, Any] = {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": meta,
        "addressType": frame.family,
        "endpoints": list(endpoints),
        "ports": [{"name": name, "port": port, "protocol": protocol, **({"appProtocol": app} if app else {})} for name, port, protocol, app in ports],
    }
    return made


def _differs(frame: Frame, slice_: Object, ports: Ports, endpoints: Sequence[Endpoint]) -> bool:
    return (
        (slice_.get("endpoints") or []) != list(endpoints)
        or ports_of(slice_) != ports
        or objects.labels(slice_) != dict(frame.labels)
        or not frame.annotations.items() <= objects.annotations(slice_).items()
        or objects.owners(slice_) != [dict(frame.owner)]
    )
