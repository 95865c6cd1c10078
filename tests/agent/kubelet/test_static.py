from __future__ import annotations

from pathlib import Path

import pytest
import trio
import trio.testing

from edgek.agent.kubelet import static
from edgek.agent.kubelet.static import BadManifest, pod_of
from edgek.model import errors, kinds, objects
from edgek.model.kinds import Kind
from edgek.model.objects import Object
from tests.agent.kubelet.scene import Node, fresh_kubelet, node

MANIFEST = """
apiVersion: v1
kind: Pod
metadata: {name: dns, namespace: kube-system}
spec:
  containers: [{name: main, image: "example.org/box:1", command: [forever]}]
"""


def test_a_manifest_becomes_a_pod_of_this_node() -> None:
    pod = pod_of(MANIFEST.encode(), "/m/dns.yaml", "Node-1")
    assert objects.key(pod) == "kube-system/dns-node-1"
    assert pod["spec"]["nodeName"] == "Node-1"
    assert objects.annotations(pod)["kubernetes.io/config.source"] == "file"
    assert objects.uid(pod) == objects.annotations(pod)["kubernetes.io/config.hash"]
    assert objects.uid(pod) != objects.uid(pod_of(MANIFEST.encode() + b"\n", "/m/dns.yaml", "Node-1"))


@pytest.mark.parametrize("raw", ["{", "a: [", "kind: List", "apiVersion: v1\nkind: Pod\nmetadata: {name: x}", "- 1"])
def test_what_is_not_a_pod_is_refused(raw: str) -> None:
    with pytest.raises(BadManifest):
        pod_of(raw.encode(), "/m/x", "n")


async def manifests(here: Node) -> Path:
    folder = here.settings.manifests_dir
    folder.mkdir(parents=True)
    await here.client.create(kinds.NODE, {"metadata": {"name": "node-1"}})
    return folder


async def quiet(here: Node) -> None:
    """inotify is the kernel's: give it a moment of real time by letting everybody finish."""
    for _ in range(5):
        await trio.testing.wait_all_tasks_blocked()
        await here.settle(1)


async def running(here: Node, manifest: str = MANIFEST) -> Path:
    """The folder of manifests, whose pod runs."""
    folder = await manifests(here)
    (folder / "dns.yaml").write_text(manifest)
    await here.nursery.start(static.run, here.kubelet)
    await quiet(here)
    return folder


async def test_a_static_pod_runs_has_a_mirror_and_ends_with_its_manifest(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    async with node(tmp_path) as here:
        folder = await manifests(here)
        (folder / "dns.yaml").write_text(MANIFEST)
        (folder / "broken.yaml").write_text("kind: Other")
        await here.nursery.start(static.run, here.kubelet)
        await quiet(here)
        mirror = here.api.one(kinds.POD, "dns-node-1", "kube-system")
        assert mirror is not None
        assert mirror["status"]["phase"] == "Running"
        assert mirror["metadata"]["ownerReferences"][0]["kind"] == "Node"

        await here.client.delete(kinds.POD, "dns-node-1", "kube-system")
        await quiet(here)
        again = here.api.one(kinds.POD, "dns-node-1", "kube-system")
        assert again is not None
        assert objects.uid(again) != objects.uid(mirror)  # deleting the picture does not delete the pod
        assert again["status"]["phase"] == "Running"
        assert len(await here.containers()) == 1

        (folder / "dns.yaml").write_text(MANIFEST.replace("forever]", "stubborn]"))
        await quiet(here)
        await here.settle(40)
        assert [c.state for c in await here.containers()] == ["running"]

        (folder / "dns.yaml").unlink()
        await quiet(here)
        await here.settle(40)
        assert await here.containers() == []
        assert here.api.one(kinds.POD, "dns-node-1", "kube-system") is None


async def test_an_edgek_that_starts_again_does_not_touch_a_static_pod(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    async with node(tmp_path) as here:
        folder = await running(here)
        here.die()
        await quiet(here)
        calls = len(here.runtime.calls)
        again = fresh_kubelet(tmp_path, here.client, here.runtime, here.mounter)
        again.manifests = lambda: static.read_all(folder, "node-1", {}).values()
        await here.nursery.start(again.run)
        await quiet(here)
        assert len(here.runtime.calls) == calls


async def test_a_manifest_that_comes_back_while_its_pod_ends_runs_again(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    async with node(tmp_path) as here:
        folder = await running(here, MANIFEST.replace("forever]", "stubborn]"))
        (first,) = await here.containers()
        (folder / "dns.yaml").rename(tmp_path / "aside")
        await quiet(here)
        (tmp_path / "aside").rename(folder / "dns.yaml")
        await quiet(here)
        assert [c.id for c in await here.containers()] == [first.id]  # it takes its time to end
        await here.settle(60)
        (second,) = await here.containers()
        assert (second.state, second.id == first.id) == ("running", False)
        mirror = here.api.one(kinds.POD, "dns-node-1", "kube-system")
        assert mirror is not None
        assert mirror["status"]["phase"] == "Running"


async def test_a_manifest_that_comes_back_and_goes_again_meanwhile_does_not_run(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    async with node(tmp_path) as here:
        folder = await running(here, MANIFEST.replace("forever]", "stubborn]"))
        for source, target in (
            (folder / "dns.yaml", tmp_path / "aside"),
            (tmp_path / "aside", folder / "dns.yaml"),
            (folder / "dns.yaml", tmp_path / "aside"),
        ):
            source.rename(target)
            await quiet(here)
        await here.settle(60)
        assert await here.containers() == []


async def test_a_mirror_goes_though_the_server_was_away_when_its_pod_ended(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    async with node(tmp_path) as here:
        folder = await running(here)
        refused: list[str] = []

        def refuse(verb: str, kind: Kind, obj: Object) -> None:
            if verb == "delete" and len(refused) < 3:
                refused.append(objects.name(obj))
                raise errors.ServiceUnavailable("the server is busy")

        here.api.before_write = refuse
        (folder / "dns.yaml").unlink()
        await quiet(here)
        await here.settle(60)
        assert refused == ["dns-node-1"] * 3
        assert here.api.one(kinds.POD, "dns-node-1", "kube-system") is None
