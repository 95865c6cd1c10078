"""The parts of a node in their order. Everything here knows the cluster only through a ``Client``."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path

import trio

from edgek import __version__
from edgek.agent.heard import Heard
from edgek.agent.kubelet import assemble
from edgek.agent.kubelet.assemble import NodeParts
from edgek.agent.kubelet.csi.drivers import BuiltIn, Caller
from edgek.agent.kubelet.settings import KubeletSettings
from edgek.agent.local_storage import LocalStorage
from edgek.agent.node import NodeKeeper
from edgek.agent.runtime import containerd, registries
from edgek.agent.runtime import service as runtime_service
from edgek.agent.runtime.cri import CriRuntime
from edgek.client import services
from edgek.client.client import Client
from edgek.client.events import Recorder
from edgek.client.informer import Informer, Informers
from edgek.client.node import NodeDoor
from edgek.cni import service as cni_service
from edgek.cni.network import PodNetwork
from edgek.cni.node_network import NodeNetwork
from edgek.cni.node_network import Settings as NetworkSettings
from edgek.cni.uplink import Wish
from edgek.config import Config
from edgek.host.service import Service
from edgek.model import kinds
from edgek.model.errors import UsageError
from edgek.model.local_storage import HOSTPATH, NFS

TOPOLOGY_KEY = "topology.hostpath.edgek.io/node"  # as the driver has it, which is not loaded before it is used
STUB_RESOLVER = "127.0.0.53"  # systemd-resolved's; pods cannot reach it, the file behind it names the real ones
RESOLVED_CONF = Path("/run/systemd/resolve/resolv.conf")


class Agent:
    """Attributes are there once the service that makes them has started."""

    network: PodNetwork
    runtime: CriRuntime
    offered: Informer[services.Service]
    slices: Informer[services.Slice]
    parts: NodeParts | None = None
    moved: Callable[[], None] | None = None  # called when this machine's address is another one
    is_taken: Callable[[], bool] | None = None  # whether another machine is this node

    def __init__(
        self,
        config: Config,
        node_ip: str,
        client: Callable[[str], Client],
        open_door: Callable[[str, NodeDoor], None],
        *,
        may_be_alone: bool = False,
    ) -> None:
        """``client`` makes a client that acts as this node, under the name of an agent; ``open_door`` takes what the API may ask of the node.

        ``may_be_alone``: its server is elsewhere, so it keeps what it may need when that does not answer.
        """
        self.config = config
        self.node_ips = [node_ip]  # follows the machine's address while we run: who shows it holds this list
        self._make_client = client
        self._open_door = open_door
        self._may_be_alone = may_be_alone

    def services(self) -> Iterator[Service]:
        yield Service("pod network", self.run_network)
        yield Service("container runtime", self.run_runtime)
        yield Service("what the cluster offers", self.run_knowledge)
        yield Service("kubelet", self.run_kubelet)
        yield Service("service proxy and DNS", self.run_traffic)
        yield Service("local storage", self.run_local_storage)

    async def run_network(self, *, task_status: trio.TaskStatus[None]) -> None:
        config = self.config
        async with trio.open_nursery() as nursery:
            self.network = await nursery.start(partial(cni_service.run, config.cni_dir, config.run_dir / "cni", self._cni_socket))
            among_nodes = NodeNetwork(self._network_settings(), self._make_client("pod-network"), self.network, self._address_changed)
            await nursery.start(among_nodes.run)
            task_status.started()

    async def run_runtime(self, *, task_status: trio.TaskStatus[None]) -> None:
        async with trio.open_nursery() as nursery:
            try:
                self.runtime = await nursery.start(partial(runtime_service.run, self.config, self._cni_socket))
            except* (containerd.CannotRun, registries.BadRegistries) as group:
                raise UsageError(str(group.exceptions[0])) from None
            task_status.started()

    async def run_knowledge(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Services and endpoints: as the API says, or as they were when it was last heard of. One cache for kubelet, proxy and DNS."""
        informers = Informers(self._make_client("kube-proxy"))
        self.offered = informers.of(kinds.SERVICE, services.service)
        self.slices = informers.of(kinds.ENDPOINT_SLICE, services.slice_)
        folder = self.config.agent_dir / "copies"
        async with trio.open_nursery() as nursery:
            if self._may_be_alone:
                await nursery.start(Heard(self.offered, folder / "services.json", services.decode_service).run)
                await nursery.start(Heard(self.slices, folder / "endpointslices.json", services.decode_slice).run)
            nursery.start_soon(informers.run)
            task_status.started()

    async def run_kubelet(self, *, task_status: trio.TaskStatus[None]) -> None:
        from edgek.host import service

        client = self._make_client("kubelet")
        recorder = Recorder(client, "kubelet", self.config.node_name)
        parts = self.parts = assemble.assemble(self._settings(), client, self.runtime, recorder, self._drivers(), offered=self.offered)
        parts.kubelet.expect = self._expect
        parts.kubelet.is_taken = self.is_taken or parts.kubelet.is_taken
        parts.keeper.readiness.ranged = self.network.ranged.is_set
        async with trio.open_nursery() as nursery:
            nursery.start_soon(recorder.run)
            nursery.start_soon(self._show_range, parts.keeper)
            await nursery.start(service.run, list(parts.services))
            self._open_door(self.config.node_name, parts.door)
            task_status.started()

    async def run_traffic(self, *, task_status: trio.TaskStatus[None]) -> None:
        from edgek import dns
        from edgek.agent.proxy.loop import Proxy, Settings

        config = self.config
        own = frozenset({config.cluster_dns})
        proxy = Proxy(Settings(config.node_name, config.cluster_cidr, own), self.offered, self.slices, self.network.mappings)
        names = dns.build(
            config.cluster_dns,
            config.cluster_domain,
            [config.cluster_cidr, config.service_cidr],
            self.offered,
            self.slices,
            resolv_conf=_resolv_conf(),
        )
        async with trio.open_nursery() as nursery:
            await nursery.start(proxy.run)
            try:
                await nursery.start(names.run)
            except* OSError as group:
                raise UsageError(f"DNS cannot listen on {config.cluster_dns}:53: {group.exceptions[0]}; see --cluster-dns") from None
            task_status.started()

    async def run_local_storage(self, *, task_status: trio.TaskStatus[None]) -> None:
        assert self.parts is not None
        client, config = self._make_client("local-storage"), self.config
        await LocalStorage(client, config.node_name, config.storage_dir, self.parts.drivers).run(task_status=task_status)

    def _drivers(self) -> list[BuiltIn]:
        """Loaded when the first volume needs them."""
        config = self.config

        def hostpath() -> Caller:
            from edgek.csi.driver import Settings
            from edgek.csi.table import DRIVERS

            return DRIVERS["hostpath"](Settings(config.node_name, root=config.storage_dir))

        def nfs() -> Caller:
            from edgek.csi.driver import Settings
            from edgek.csi.table import DRIVERS

            return DRIVERS["nfs"](Settings(config.node_name))

        here = {TOPOLOGY_KEY: config.node_name}
        return [BuiltIn(HOSTPATH, config.node_name, hostpath, here), BuiltIn(NFS, config.node_name, nfs)]

    @property
    def _cni_socket(self) -> Path:
        return self.config.run_dir / "cni.sock"

    def _settings(self) -> KubeletSettings:
        config = self.config
        return KubeletSettings(
            node_name=config.node_name,
            node_ips=self.node_ips,
            data_dir=config.data_dir,
            kubelet_dir=config.kubelet_dir,
            pod_logs_dir=config.pod_logs_dir,
            container_logs_dir=Path("/var/log/containers") if config.owns_host_paths else config.agent_dir / "container-logs",
            cgroup_root=config.cgroup_root,
            cluster_dns=(config.cluster_dns,),
            cluster_domain=config.cluster_domain,
            resolv_conf=_resolv_conf(),
            node_labels=dict(config.node_label),
            external_ips=config.node_external_ip,
            contact_file=config.run_dir / "last-contact",
            register_node=config.register_node,
            node_taints=tuple(f"{key}={value}:{effect}" for key, value, effect in config.node_taint),
            version=f"v1.36.4+edgek{__version__}",
        )

    def _network_settings(self) -> NetworkSettings:
        config = self.config
        pods, services = ipaddress.IPv4Network(config.cluster_cidr), ipaddress.IPv4Network(config.service_cidr)
        address = ipaddress.IPv4Address(config.node_ip) if config.node_ip else None
        external = [found for each in config.node_external_ip if (found := ipaddress.ip_address(each)).version == 4]
        return NetworkSettings(
            node_name=config.node_name,
            backend=config.flannel_backend,
            cluster=pods,
            memory=config.cni_dir / "network.json",
            services=services,
            wish=Wish(address, config.flannel_iface, avoid=(pods, services)),
            own=(ipaddress.IPv4Address(config.cluster_dns),),
            external=external[0] if external else None,
        )

    def report(self) -> None:
        """The server can be reached again: it may have forgotten when it heard of us last, and hears of us at once."""
        if self.parts is not None:
            self.parts.keeper.wake()

    async def _show_range(self, keeper: NodeKeeper) -> None:
        """A node that has its pod range is ready at once, not with the next beat."""
        await self.network.ranged.wait()
        keeper.wake()

    def _expect(self, addresses: Mapping[str, str]) -> None:
        self.network.expect({uid: ipaddress.IPv4Address(address) for uid, address in addresses.items()})

    def _address_changed(self, address: ipaddress.IPv4Address) -> None:
        """Node and pods show it; nothing of them is restarted."""
        if self.moved is not None and self.node_ips != [str(address)]:
            self.moved()
        self.node_ips[:] = [str(address)]
        if self.parts is not None:
            self.parts.kubelet.wake_all()


def _resolv_conf() -> Path:
    """The file that names resolvers which pods can reach."""
    path = Path("/etc/resolv.conf")
    try:
        stub = STUB_RESOLVER in path.read_text()
    except OSError:
        return path
    return RESOLVED_CONF if stub and RESOLVED_CONF.exists() else path
