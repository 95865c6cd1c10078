"""A node's kubelet put together, for ``roles``: what to run, in which order, and the door to hand to the API server."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import attrs

from edgek.agent.kubelet import static
from edgek.agent.kubelet.contact import Contact
from edgek.agent.kubelet.csi.drivers import BuiltIn, Drivers
from edgek.agent.kubelet.housekeeping import Housekeeping
from edgek.agent.kubelet.loop import Kubelet
from edgek.agent.kubelet.machine import Machine
from edgek.agent.kubelet.serve import Door
from edgek.agent.kubelet.settings import KubeletSettings
from edgek.agent.node import NodeKeeper
from edgek.agent.runtime.runtime import Runtime
from edgek.client.client import Client
from edgek.client.events import Recorder
from edgek.client.informer import Informer
from edgek.client.services import Service as ServiceView
from edgek.host import files
from edgek.host.mount import Kernel
from edgek.host.service import Service

PODS_MODE = 0o750  # Secrets are world-readable for the pod's users: the machine's users must not come so far


@attrs.frozen
class NodeParts:
    """``services`` in the order in which they start; the recorder is run by whoever made it."""

    kubelet: Kubelet
    keeper: NodeKeeper
    door: Door
    drivers: Drivers
    services: tuple[Service, ...]


def assemble(
    settings: KubeletSettings,
    client: Client,
    runtime: Runtime,
    recorder: Recorder,
    drivers: Sequence[BuiltIn] = (),
    *,
    offered: Informer[ServiceView] | None = None,
) -> NodeParts:
    """Touches the machine: makes the kubelet's folder, and lets mounts below it be seen by containers that ask for that. Raises OSError.

    ``drivers`` are the storage drivers that edgek brings; ``offered`` are the cluster's Services, where somebody has an informer of them.
    """
    settings.kubelet_dir.mkdir(parents=True, exist_ok=True)
    (settings.kubelet_dir / "pods").mkdir(exist_ok=True)
    (settings.kubelet_dir / "pods").chmod(PODS_MODE)
    kernel = Kernel()
    kernel.make_shared(settings.kubelet_dir)
    machine = Machine.read(settings.kubelet_dir)
    file = settings.contact_file
    contact = Contact(file, machine.boot_id, cheap=file is not None and files.in_memory(file.parent))
    kubelet = Kubelet(settings, client, runtime, recorder, machine, mounter=kernel, contact=contact, services=offered)
    for each in drivers:
        kubelet.storage.drivers.put_built_in(each)
    housekeeping = Housekeeping(kubelet)
    keeper = NodeKeeper(settings, client, runtime, recorder, machine, pressures=housekeeping.pressures, beats=(housekeeping.beat,), contact=contact)
    kubelet.offer = keeper.offer
    kubelet.manifests = lambda: static.read_all(settings.manifests_dir, settings.node_name, {}).values()
    keeper.node.add_handler(lambda key, old, new: kubelet.storage.node_changed(new) if new else None)
    kubelet.images.changed = keeper.readiness.images_changed
    services = (
        Service("node", keeper.run),
        Service("storage drivers", kubelet.storage.run),
        Service("kubelet", kubelet.run),
        Service("static pods", functools.partial(static.run, kubelet)),
    )
    return NodeParts(kubelet, keeper, Door(kubelet), kubelet.storage.drivers, services)
