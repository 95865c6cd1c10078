"""Pods with the real containerd, kernel and disk; only the API is in memory."""

from __future__ import annotations

import base64
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio

from edgek.agent.kubelet.cgroups import Cgroups
from edgek.agent.kubelet.loop import Kubelet
from edgek.agent.kubelet.machine import Machine
from edgek.agent.kubelet.serve import Door
from edgek.client.client import Client
from edgek.client.events import Recorder
from edgek.client.node import ContainerRef, ExecOptions, LogOptions, Terminal
from edgek.host.mount_table import mount_points
from edgek.model import kinds
from edgek.model.objects import Object
from tests.agent.kubelet import scene
from tests.agent.kubelet.scene import settings
from tests.fakes import node as real_node
from tests.fakes.api import FakeApi

pytestmark = pytest.mark.node
WAIT_S = 60.0


@attrs.define
class Here:
    api: FakeApi
    client: Client
    kubelet: Kubelet
    door: Door
    real: real_node.Node
    nursery: trio.Nursery

    async def until(self, fact: Callable[[Object], bool], name: str = "web") -> Object:
        """The pod, once the fact is true of it."""
        with trio.move_on_after(WAIT_S):
            while True:
                found = self.api.one(kinds.POD, name)
                if found is not None and fact(found):
                    return found
                await self.api.wait_for_change()
        raise AssertionError(f"not so after {WAIT_S} s: {found} {[(e['reason'], e['message']) for e in self.api.all(kinds.EVENT)]}")

    async def until_gone(self, name: str = "web") -> None:
        with trio.fail_after(WAIT_S):
            while self.api.one(kinds.POD, name) is not None or self.kubelet.workers:
                await trio.sleep(0.02)

    async def exec(self, *command: str, container: str = "main", stdin: bytes = b"") -> tuple[int, bytes]:
        out = bytearray()

        async def write(channel: int, chunk: bytes) -> None:
            out.extend(chunk)

        code = await self.door.exec(
            ContainerRef("default", "web", "", container), ExecOptions(command, stdin=bool(stdin)), Terminal(_once(stdin), write, _nothing())
        )
        return code, bytes(out)


async def _once(chunk: bytes) -> AsyncIterator[bytes]:
    if chunk:
        yield chunk


async def _nothing() -> AsyncIterator[tuple[int, int]]:
    return
    yield 0, 0


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    found = Path(tempfile.mkdtemp(prefix="edgek-kubelet-"))
    yield found
    real_node.put_away(found)


@asynccontextmanager
async def _here(folder: Path) -> AsyncIterator[Here]:
    api = FakeApi()
    client = Client(api)
    (folder / "resolv.conf").write_text("nameserver 192.0.2.53\n")
    told = attrs.evolve(settings(folder), cgroup_root=real_node.CGROUP, node_ips=("127.0.0.1",))
    async with real_node.open_node(folder) as real, trio.open_nursery() as nursery:
        kubelet = Kubelet(told, client, real.runtime, Recorder(client, "kubelet", "node-1"), Machine.read(folder))
        nursery.start_soon(kubelet.recorder.run)
        await nursery.start(kubelet.run)
        yield Here(api, client, kubelet, Door(kubelet), real, nursery)
        for found in api.all(kinds.POD):
            await client.delete(kinds.POD, found["metadata"]["name"], "default", grace_s=0)
        with trio.move_on_after(WAIT_S):
            while kubelet.workers:
                await trio.sleep(0.05)
        nursery.cancel_scope.cancel()


@pytest.fixture
async def here(folder: Path) -> AsyncIterator[Here]:
    async with _here(folder) as found:
        yield found


def pod(**spec: Any) -> Object:
    """One that ends quickly."""
    return scene.pod(**{"terminationGracePeriodSeconds": 1, **spec})


def box(*command: str, name: str = "main", **more: Any) -> Object:
    return {"name": name, "image": real_node.BOX, "command": list(command), **more}


def shell(text: str, name: str = "main", **more: Any) -> Object:
    return box("sh", "-c", text, name=name, **more)


def is_running(found: Object) -> bool:
    return bool(found["status"].get("phase") == "Running")


def is_ready(found: Object) -> bool:
    return any(c["type"] == "Ready" and c["status"] == "True" for c in found["status"].get("conditions") or ())


async def test_a_pod_with_volumes_runs_and_leaves_nothing(here: Here, folder: Path) -> None:
    await here.client.create(kinds.CONFIG_MAP, {"metadata": {"name": "cm"}, "data": {"greeting": "hello", "other": "x"}}, "default")
    secret = base64.b64encode(b"hush").decode()
    await here.client.create(kinds.SECRET, {"metadata": {"name": "s"}, "type": "Opaque", "data": {"word": secret}}, "default")
    mounts = [
        {"name": "scratch", "mountPath": "/scratch"},
        {"name": "cm", "mountPath": "/cm"},
        {"name": "cm", "mountPath": "/one/greeting", "subPath": "greeting"},
        {"name": "s", "mountPath": "/secret", "readOnly": True},
        {"name": "memory", "mountPath": "/memory"},
    ]
    volumes = [
        {"name": "scratch", "emptyDir": {}},
        {"name": "cm", "configMap": {"name": "cm"}},
        {"name": "s", "secret": {"secretName": "s", "defaultMode": 0o400}},
        {"name": "memory", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}},
    ]
    env = [
        {"name": "GREETING", "valueFrom": {"configMapKeyRef": {"name": "cm", "key": "greeting"}}},
        {"name": "TWICE", "value": "$(GREETING) $(GREETING)"},
        {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
    ]
    limits = {"limits": {"cpu": "500m", "memory": "64Mi"}}
    await here.client.create(
        kinds.POD, pod(containers=[shell("exec sleep 1000", volumeMounts=mounts, env=env, resources=limits)], volumes=volumes), "default"
    )
    shown = await here.until(is_ready)
    code, out = await here.exec(
        "sh", "-c", "cat /cm/greeting /one/greeting /secret/word; echo; echo $TWICE $IP; hostname; touch /scratch/a && echo can write"
    )
    assert code == 0
    assert out.decode().splitlines() == ["hellohellohush", f"hello hello {shown['status']['podIP']}", "web", "can write"]
    _, hosts = await here.exec("cat", "/etc/hosts")
    assert f"{shown['status']['podIP']}\tweb" in hosts.decode()
    _, memory = await here.exec("cat", "/proc/self/mounts")
    assert "/memory tmpfs" in memory.decode()

    await here.client.patch(kinds.CONFIG_MAP, "cm", {"data": {"greeting": "good day"}}, "default")
    with trio.fail_after(20):
        while (await here.exec("cat", "/cm/greeting"))[1] != b"good day":
            await trio.sleep(0.02)
    assert (await here.exec("cat", "/one/greeting"))[1] == b"hello"  # a subPath stays as it was mounted

    uid = shown["metadata"]["uid"]
    await here.client.delete(kinds.POD, "web", "default", grace_s=1)
    await here.until_gone()
    assert await here.real.runtime.sandboxes() == []
    assert not here.kubelet.settings.pod_dir(uid).exists()
    assert not [point for point in mount_points() if uid in point]
    assert uid not in Cgroups().pods("edgek-test/kubepods")
    assert not list((folder / "logs").glob("*"))
    assert not list((folder / "links").glob("*"))


async def test_logs_are_read_and_followed(here: Here) -> None:
    await here.client.create(
        kinds.POD,
        pod(restartPolicy="Never", containers=[shell("echo one; echo two >&2; until [ -e /go ]; do sleep 0.05; done; sleep 1; echo three")]),
        "default",
    )
    await here.until(is_running)
    ref = ContainerRef("default", "web", "", "main")
    got: list[bytes] = []

    async def follow() -> None:
        async for chunk in here.door.logs(ref, LogOptions(follow=True)):
            got.append(chunk)

    with trio.fail_after(WAIT_S):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(follow)
            await here.exec("mkdir", "/go")
    assert sorted(b"".join(got).splitlines()) == [b"one", b"three", b"two"]
    tail = b"".join([chunk async for chunk in here.door.logs(ref, LogOptions(tail_lines=1))])
    assert tail == b"three\n"
    only = b"".join([chunk async for chunk in here.door.logs(ref, LogOptions(stream="Stderr", timestamps=True))])
    assert only.endswith(b"Z two\n")


async def test_a_crash_shows_its_message_and_code(here: Here) -> None:
    crash = shell("echo the reason > /dev/termination-log; exit 7")
    await here.client.create(kinds.POD, pod(restartPolicy="Never", containers=[crash]), "default")
    shown = await here.until(lambda found: found["status"].get("phase") == "Failed")
    ended = shown["status"]["containerStatuses"][0]["state"]["terminated"]
    assert (ended["exitCode"], ended["message"], ended["reason"]) == (7, "the reason\n", "Error")


async def test_a_container_that_takes_too_much_memory_is_killed(here: Here) -> None:
    greedy = shell("x=a; while true; do x=$x$x; done", resources={"limits": {"memory": "16Mi"}})
    await here.client.create(kinds.POD, pod(restartPolicy="Never", containers=[greedy]), "default")
    shown = await here.until(lambda found: found["status"].get("phase") == "Failed")
    ended = shown["status"]["containerStatuses"][0]["state"]["terminated"]
    assert (ended["exitCode"], ended["reason"]) == (137, "OOMKilled")


async def test_probes_and_port_forward_reach_a_server_in_the_pod(here: Here) -> None:
    answer = "printf 'HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\n\\r\\nok'"
    server = shell(f"{answer} | nc -l -p 8081 & while true; do {answer} | nc -l -p 8080 >/dev/null; done")
    server["readinessProbe"] = {"httpGet": {"path": "/", "port": 8080}, "periodSeconds": 1}
    server["livenessProbe"] = {"exec": {"command": ["true"]}, "periodSeconds": 1}
    await here.client.create(kinds.POD, pod(containers=[server]), "default")
    await here.until(is_ready)
    with trio.fail_after(WAIT_S):
        stream = await here.door.dial_pod("default", "web", "", 8081)
        await stream.send_all(b"GET / HTTP/1.1\r\n\r\n")
        assert (await stream.receive_some()).startswith(b"HTTP/1.1 200 OK")
        await trio.aclose_forcefully(stream)


async def test_a_new_kubelet_adopts_what_runs(here: Here) -> None:
    await here.client.create(kinds.POD, pod(containers=[shell("exec sleep 1000")]), "default")
    shown = await here.until(is_ready)
    again = Kubelet(
        here.kubelet.settings, here.client, here.real.runtime, Recorder(here.client, "kubelet"), Machine.read(here.kubelet.settings.data_dir)
    )
    await here.nursery.start(again.run)
    with trio.fail_after(WAIT_S):
        while not (again.workers and all(w.seen.alive for w in again.workers.values())):
            await trio.sleep(0.02)
    assert (await here.until(is_ready))["status"] == shown["status"]


async def test_usage_is_told(here: Here) -> None:
    import orjson

    from edgek.client.transport import Request

    await here.client.create(kinds.POD, pod(containers=[shell("exec sleep 1000")]), "default")
    await here.until(is_ready)
    body = orjson.loads((await here.door.request(Request("GET", "/stats/summary"))).body)
    assert body["pods"][0]["podRef"]["name"] == "web"
    assert body["pods"][0]["containers"][0]["memory"]["workingSetBytes"] > 0
    text = (await here.door.request(Request("GET", "/metrics/resource"))).body.decode()
    assert 'pod_memory_working_set_bytes{namespace="default",pod="web"}' in text


def quota(container_id: str) -> str:
    """The CPU quota that the kernel knows, in either version of cgroups."""
    for name in ("cpu.cfs_quota_us", "cpu.max"):
        for file in Path("/sys/fs/cgroup").rglob(f"{container_id}/{name}"):
            return file.read_text().split()[0]
    return "none"


async def test_the_kernel_hears_of_changed_resources(here: Here) -> None:
    def asking(cpu: str) -> Object:
        return shell("exec sleep 1000", resources={"requests": {"cpu": cpu}, "limits": {"cpu": cpu}})

    await here.client.create(kinds.POD, pod(containers=[asking("200m")]), "default")
    shown = await here.until(is_ready)
    identity = shown["status"]["containerStatuses"][0]["containerID"].removeprefix("containerd://")
    assert quota(identity) == "20000"
    for cpu, wanted in (("600m", "60000"), ("100m", "10000")):
        await here.client.patch(kinds.POD, "web", {"spec": {"containers": [asking(cpu)]}}, "default")
        await here.until(lambda found: found["status"]["containerStatuses"][0]["resources"]["limits"]["cpu"] == cpu)  # noqa: B023 - used at once
        assert quota(identity) == wanted
