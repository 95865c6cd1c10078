"""The names by which server and nodes share the work on volumes of the drivers that edgek brings.

The server makes a PersistentVolume for a claim. Annotations on it say what is still to be done, its label says which node is to do it: its keeper.
The keeper calls the driver and takes the annotation off when it is done. Nothing else is remembered anywhere, so nothing can be forgotten.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs
import orjson

from edgek.model import objects, quantity
from edgek.model.objects import Object

HOSTPATH = "hostpath.edgek.io"
NFS = "nfs.edgek.io"
OWN = frozenset({HOSTPATH, NFS})

NODE_LABEL = "edgek.io/node"  # of a PersistentVolume: its keeper
MAKE = "edgek.io/make"  # annotation: the volume is not there yet; what CreateVolume is to be told beyond what the object says
GROW = "edgek.io/grow-to"  # annotation: the size it is to have, as its claim says it
TROUBLE = "edgek.io/trouble"  # annotation: why the keeper could not do it the last time
FINALIZER = "external-provisioner.volume.kubernetes.io/finalizer"  # upstream's, for the same: the driver's volume goes before the object does
IN_USE_FINALIZER = "kubernetes.io/pv-protection"  # upstream's: bound volumes have it
PROVISIONED_BY = "pv.kubernetes.io/provisioned-by"

# Before there were drivers a volume was a hostPath of this provisioner. Such volumes go on, and classes that name it make volumes of HOSTPATH.
FORMER = "edgek.io/local-path"
FORMER_FINALIZER = "edgek.io/local-path"


@attrs.frozen
class Making:
    """What CreateVolume is to be told beyond what the PersistentVolume says. ``source``: the id of the volume that it begins as a copy of."""

    parameters: Mapping[str, str] = attrs.field(factory=dict)
    source: str = ""

    def as_text(self) -> str:
        return orjson.dumps({"parameters": dict(self.parameters), "source": self.source}, option=orjson.OPT_SORT_KEYS).decode()

    @staticmethod
    def of_text(text: str) -> Making:
        """Raises ValueError."""
        said: Any = orjson.loads(text)
        parameters = said.get("parameters") if isinstance(said, dict) else None
        if not isinstance(parameters, dict):
            raise ValueError(f"{text!r} does not say how to make a volume")  # noqa: TRY004  a value like any other that cannot be read
        return Making({str(name): str(value) for name, value in parameters.items()}, str(said.get("source") or ""))


def driver_of(provisioner: str) -> str:
    """The driver of ours that a class means; empty for everybody else's."""
    return HOSTPATH if provisioner == FORMER else provisioner if provisioner in OWN else ""


def is_being_made(volume: Object) -> bool:
    """Nobody may be given it yet."""
    return MAKE in objects.annotations(volume)


def handle(volume: Object) -> str:
    """The driver's name for it; empty for a volume that has none."""
    return str(((volume.get("spec") or {}).get("csi") or {}).get("volumeHandle") or "")


def size_bytes(text: Any) -> int:
    """Of a quantity, whole bytes, rounded up. Raises ValueError."""
    return -(-quantity.parse(str(text)).nanos // 10**9)
