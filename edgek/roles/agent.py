"""The parts of a node in their order. Everything here knows the cluster only through a ``Client``."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import trio

from edgek import __version__
from edgek.agent.kubelet import assemble
from edgek.agent.kubelet.assemble import NodeParts
from edgek.agent.kubelet.settings import KubeletSettings
from edgek.agent.local_storage import LocalStorage
from edgek.agent.runtime import containerd, registries
from edgek.agent.runtime import service as runtime_service
from edgek.agent.runtime.cri import CriRuntime
from edgek.client import services
from edgek.client.client import Client
from edgek.client.events import Recorder
from edgek.client.informer import Informers
from edgek.client.node import NodeDoor
from edgek.cni import service as cni_service
from edgek.cni.network import PodNetwork
from edgek.config import Config
from edgek.host import log
from edgek.host.service import Service
from edgek.host.worker import Worker
from edgek.model import kinds
from edgek.model.errors import UsageError
from edgek.model.objects import Object

STUB_RESOLVER = "127.0.0.53"  # systemd-resolved's; pods cannot reach it, the file behind it names the real ones
RESOLVED_CONF = Path("/run/systemd/resolve/resolv.conf")


class Agent:
    """Attributes are there once the service that makes them has started."""

    network: PodNetwork
    runtime: CriRuntime
    parts: NodeParts

    def __init__(self, config: Config, node_ip: str, client: Callable[[str], Client], open_door: Callable[[str, NodeDoor], None]) -> None:
        """``client`` makes a client that acts as this node, under the name of an agent; ``open_door`` takes what the API may ask of the node."""
        self.config = config
        self.node_ip = node_ip
        self._make_client = client
        self._open_door = open_door

    def services(self) -> Iterator[Service]:
        yield Service("pod network", self.run_network)
        yield Service("container runtime", self.run_runtime)
        yield Service("kubelet", self.run_kubelet)
        yield Service("service proxy and DNS", self.run_traffic)
        yield Service("local storage", self.run_local_storage)

    async def run_network(self, *, task_status: trio.TaskStatus[None]) -> None:
        config = self.config
        async with trio.open_nursery() as nursery:
            self.network = await nursery.start(partial(cni_service.run, config.cni_dir, config.run_dir / "cni", self._cni_socket))
            task_status.started()

    async def run_runtime(self, *, task_status: trio.TaskStatus[None]) -> None:
        async with trio.open_nursery() as nursery:
            try:
                self.runtime = await nursery.start(partial(runtime_service.run, self.config, self._cni_socket))
            except* (containerd.CannotRun, registries.BadRegistries) as group:
                raise UsageError(str(group.exceptions[0])) from None
            task_status.started()

    async def run_kubelet(self, *, task_status: trio.TaskStatus[None]) -> None:
        from edgek.host import service

        client = self._make_client("kubelet")
        recorder = Recorder(client, "kubelet", self.config.node_name)
        self.parts = assemble.assemble(self._settings(), client, self.runtime, recorder)
        self.parts.keeper.node.add_handler(self._node_changed)
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            nursery.start_soon(recorder.run)
            await nursery.start(service.run, list(self.parts.services))
            self._open_door(self.config.node_name, self.parts.door)
            task_status.started()

    async def run_traffic(self, *, task_status: trio.TaskStatus[None]) -> None:
        """The proxy and DNS share one cache of Services and endpoints."""
        from edgek import dns
        from edgek.agent.proxy.loop import Proxy, Settings

        config = self.config
        informers = Informers(self._make_client("kube-proxy"))
        known = informers.of(kinds.SERVICE, services.service)
        slices = informers.of(kinds.ENDPOINT_SLICE, services.slice_)
        own = frozenset({config.cluster_dns})
        proxy = Proxy(Settings(config.node_name, config.cluster_cidr, own), known, slices, self.network.mappings)
        names = dns.build(
            config.cluster_dns,
            config.cluster_domain,
            [config.cluster_cidr, config.service_cidr],
            known,
            slices,
            resolv_conf=_resolv_conf(),
        )
        await Worker(1).run(_hold_service_addresses, config.cluster_dns, config.service_cidr, self.node_ip)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(informers.run)
            await nursery.start(proxy.run)
            try:
                await nursery.start(names.run)
            except* OSError as group:
                raise UsageError(f"DNS cannot listen on {config.cluster_dns}:53: {group.exceptions[0]}; see --cluster-dns") from None
            task_status.started()

    async def run_local_storage(self, *, task_status: trio.TaskStatus[None]) -> None:
        await LocalStorage(self._make_client("local-storage"), self.config.node_name, self.config.storage_dir).run(task_status=task_status)

    @property
    def _cni_socket(self) -> Path:
        return self.config.run_dir / "cni.sock"

    def _settings(self) -> KubeletSettings:
        config = self.config
        return KubeletSettings(
            node_name=config.node_name,
            node_ips=(self.node_ip,),
            data_dir=config.data_dir,
            kubelet_dir=config.kubelet_dir,
            pod_logs_dir=config.pod_logs_dir,
            container_logs_dir=Path("/var/log/containers") if config.owns_host_paths else config.agent_dir / "container-logs",
            cgroup_root=config.cgroup_root,
            cluster_dns=(config.cluster_dns,),
            cluster_domain=config.cluster_domain,
            resolv_conf=_resolv_conf(),
            node_labels=dict(config.node_label),
            node_taints=tuple(f"{key}={value}:{effect}" for key, value, effect in config.node_taint),
            version=f"v1.36.4+edgek{__version__}",
        )

    def _node_changed(self, key: str, old: Object | None, new: Object | None) -> None:
        def pod_range(node: Object | None) -> str:
            return str(((node or {}).get("spec") or {}).get("podCIDR") or "")

        if pod_range(new) and pod_range(new) != pod_range(old):
            self._nursery.start_soon(self._use_range, pod_range(new))

    async def _use_range(self, pod_range: str) -> None:
        try:
            await cni_service.give_range(self.network, pod_range)
        except OSError as exc:
            log.error("the pod range cannot be used", range=pod_range, error=exc)


def _resolv_conf() -> Path:
    """The file that names resolvers which pods can reach."""
    path = Path("/etc/resolv.conf")
    try:
        stub = STUB_RESOLVER in path.read_text()
    except OSError:
        return path
    return RESOLVED_CONF if stub and RESOLVED_CONF.exists() else path


def _hold_service_addresses(dns_address: str, service_cidr: str, node_ip: str) -> None:
    """The DNS address is this node's own; all others have a way out even where there is no default route. Blocks."""
    from edgek.cni.network import LOOPBACK_INDEX
    from edgek.cni.setup import LABEL
    from edgek.host import netlink

    with netlink.open_socket() as host:
        host.run(netlink.add_address(LOOPBACK_INDEX, ipaddress.IPv4Address(dns_address), 32, LABEL))
        has_default = any(route.destination.prefixlen == 0 for route in host.routes())
        if not has_default:
            network = ipaddress.IPv4Network(service_cidr)
            host.run(netlink.set_route(network, LOOPBACK_INDEX, source=ipaddress.IPv4Address(node_ip)))
