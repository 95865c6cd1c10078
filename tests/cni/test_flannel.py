"""A stock flanneld among our nodes. ``EDGEK_TEST_FLANNELD`` names the program; it can be built with ``go install github.com/flannel-io/flannel@latest``."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
from collections.abc import AsyncIterator, Iterator
from functools import partial
from pathlib import Path

import pytest
import trio

from edgek.cni.network import LOOPBACK_INDEX, PodNetwork
from edgek.cni.reach import Verdict
from edgek.host import netlink
from edgek.model import kinds
from tests.cni.cluster import CLUSTER, Cluster, Node, all_pairs_talk, until
from tests.fakes.machines import GATEWAY, ask, open_switch
from tests.fakes.realapi import RealApi

FLANNELD = os.environ.get("EDGEK_TEST_FLANNELD") or shutil.which("flanneld") or shutil.which("flannel")
pytestmark = [pytest.mark.root, pytest.mark.skipif(not FLANNELD, reason="no flanneld here")]


@pytest.fixture(params=["vxlan", "host-gw"])
async def cluster(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Cluster]:
    """Two nodes of ours and ``stranger``, where flanneld runs; the API is served to it over HTTP."""
    with open_switch() as switch, contextlib.ExitStack() as stack:
        async with trio.open_nursery() as nursery:
            api = RealApi()
            cluster = Cluster(switch, stack, nursery, tmp_path, api)
            listener = stack.enter_context(netlink.in_namespace(switch.place, lambda: socket.create_server((GATEWAY, 8001))))
            await nursery.start(api.listen, listener)
            for name in ("one", "two"):
                node = await cluster.node(name, request.param)
                await node.pod(f"pod-{name}")
            await _bare_pod_network(await cluster.registered("stranger", request.param))
            yield cluster
            nursery.cancel_scope.cancel()


async def _bare_pod_network(stranger: Node) -> None:
    """Interfaces of pods only: routes to other nodes are flanneld's part."""
    stranger.attached = PodNetwork(stranger._folder / "pods", worker=stranger.machine.worker)  # type: ignore[arg-type]
    stranger.attached.use(str(stranger.range), 1450)
    gateway = stranger.attached.gateway
    assert gateway is not None
    with netlink.open_socket(stranger.machine.place) as kernel:
        kernel.run(netlink.add_address(LOOPBACK_INDEX, gateway, 32))
    await stranger.pod("pod-stranger")


@contextlib.contextmanager
def flanneld(node: Node, folder: Path) -> Iterator[Path]:
    """Running there; yields its log."""
    kubeconfig, settings, log = folder / "kubeconfig", folder / "net.json", folder / "flanneld.log"
    cluster = {"name": "c", "cluster": {"server": f"http://{GATEWAY}:8001"}}
    user = {"name": "u", "user": {}}
    context = {"name": "x", "context": {"cluster": "c", "user": "u"}}
    kubeconfig.write_text(json.dumps({"clusters": [cluster], "users": [user], "contexts": [context], "current-context": "x"}))
    settings.write_text(json.dumps({"Network": str(CLUSTER), "Backend": {"Type": node.backend}}))
    argv = [
        "nsenter", f"--net={node.machine.place}", str(FLANNELD), "--kube-subnet-mgr", f"--kubeconfig-file={kubeconfig}", f"--net-config-path={settings}",
        "--iface=eth0", f"--subnet-file={folder / 'subnet.env'}", "--iptables-forward-rules=false",
    ]  # fmt: skip
    with log.open("w") as out, subprocess.Popen(argv, stdout=out, stderr=out, env={**os.environ, "NODE_NAME": node.name}) as running:
        try:
            yield log
        finally:
            running.terminate()


async def test_flanneld_and_we_understand_each_other(cluster: Cluster, tmp_path: Path) -> None:
    one, two, stranger = cluster.nodes
    with flanneld(stranger, tmp_path) as log:
        everyone = [pod for node in cluster.nodes for pod in node.pods]
        try:
            await until(lambda: all(str(stranger.range) in node.routes() for node in (one, two)))
            theirs = partial(stranger.machine.ip, "route show")
            await until(lambda: all(str(node.range) in theirs() for node in (one, two)))
            await all_pairs_talk(everyone)
            assert (await ask(stranger.machine.place, one.pods[0].address)).startswith("pod-one ")
            assert (await ask(one.machine.place, stranger.pods[0].address)).startswith("pod-stranger ")

            await cluster.says("stranger", ready=True)
            reached = one.backend == "vxlan"  # asked through the tunnel, its kernel answers
            await until(lambda: all(node.network.verdict == Verdict(reached) for node in (one, two)))

            # Our address changes, and a node of ours goes: flanneld follows.
            for line in ("addr add 192.168.77.88/24 dev eth0", "addr del 192.168.77.11/24 dev eth0", "addr replace 192.168.77.88/24 dev eth0"):
                one.machine.ip(line)
            one.machine.ip(f"route replace default via {GATEWAY}")
            seen = ("bridge fdb show dev flannel.1", "ip route show")[one.backend == "host-gw"]
            await until(lambda: "192.168.77.88" in stranger.machine.sh(seen))
            await until(lambda: one.network.at_rest and "192.168.77.11" not in stranger.machine.sh(seen))
            await all_pairs_talk(everyone)
            await cluster.client.delete(kinds.NODE, "two")
            await until(lambda: str(two.range) not in theirs())
        except (AssertionError, OSError, trio.TooSlowError):
            print(log.read_text()[-5000:])
            raise
