"""A node with containerd as it is: pods that reach each other, and outlive everything around them."""

from __future__ import annotations

import contextlib
import gzip
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import attrs
import pytest
import trio

from edgek.agent.runtime import containerd, cri, patience, pause
from edgek.agent.runtime.runtime import Container, Resources, RuntimeCondition, RuntimeEvent, RuntimeFailure, RuntimeGone, Sandbox, SecurityContext
from edgek.cni import setup
from edgek.cni.network import PodNetwork
from edgek.host import netlink, process
from tests.fakes import images, node
from tests.fakes.node import Node, open_node
from tests.fakes.streams import Collected

pytestmark = [pytest.mark.root, pytest.mark.node]

SLEEP = ("sleep", "1000")


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="edgek-rt-") as made:
        yield Path(made)
        node.put_away(Path(made))


@pytest.fixture
async def real(folder: Path) -> AsyncIterator[Node]:
    with trio.fail_after(120):
        async with open_node(folder) as opened:
            yield opened


async def a_pod(real: Node, name: str, command: tuple[str, ...] = SLEEP) -> tuple[str, str, str]:
    """Ids of sandbox and container, and the address."""
    sandbox = Sandbox(
        name=name, namespace="default", uid=name, attempt=0, hostname=name, log_directory="", cgroup_parent=f"{node.CGROUP}/{name}", labels={},
        annotations={},
    )  # fmt: skip
    container = Container(
        name="main", attempt=0, image=node.BOX, command=command, args=(), working_dir="", env=(), mounts=(), devices=(), labels={}, annotations={},
        log_path="", stdin=False, stdin_once=False, tty=False, resources=Resources(), security=SecurityContext(),
    )  # fmt: skip
    sandbox_id = await real.runtime.run_sandbox(sandbox)
    container_id = await real.runtime.create_container(sandbox_id, container, sandbox)
    await real.runtime.start_container(container_id)
    status = await real.runtime.sandbox(sandbox_id)
    assert status is not None
    return sandbox_id, container_id, status.ips[0]


async def pings(real: Node, container_id: str, address: str) -> bool:
    done = await real.runtime.exec_sync(container_id, ("ping", "-c", "1", "-W", "2", address), 5)
    return done.exit_code == 0


def pid_of(child: containerd.Child) -> int:
    return int(child.pid_file.read_text().split()[0])


async def test_pods_reach_each_other_and_themselves_and_the_node(real: Node) -> None:
    _, one, one_address = await a_pod(real, "one")
    _, two, two_address = await a_pod(real, "two")
    assert one_address != two_address
    assert await pings(real, one, two_address)
    assert await pings(real, two, one_address)
    assert await pings(real, one, one_address)
    assert await pings(real, one, str(real.network.gateway))


async def test_the_node_speaks_to_a_pod_from_its_own_address_of_the_pod_range(real: Node) -> None:
    _, _, address = await a_pod(real, "listener", ("nc", "-ll", "-p", "7000", "-e", "cat"))
    stream = await _connected(address, 7000)
    assert stream.socket.getsockname()[0] == str(real.network.gateway)
    await stream.send_all(b"ping\n")
    assert await stream.receive_some(100) == b"ping\n"
    await stream.aclose()


async def _connected(address: str, port: int) -> trio.SocketStream:
    while True:
        with contextlib.suppress(OSError):
            return await trio.open_tcp_stream(address, port)
        await trio.lowlevel.checkpoint()  # the listener is starting


async def test_a_removed_pod_leaves_no_interface_no_route_and_no_address_in_use(real: Node) -> None:
    sandbox_id, _, address = await a_pod(real, "short")
    (attachment,) = [each for each in real.network.attachments() if str(each.address) == address]
    await real.runtime.remove_sandbox(sandbox_id)
    assert attachment not in real.network.attachments()
    assert not await trio.Path(attachment.netns).exists()
    while await trio.Path(f"/sys/class/net/{attachment.host_interface}").exists():
        await trio.lowlevel.checkpoint()  # the kernel takes namespaces apart in the background
    with netlink.open_socket() as host:
        assert address not in [str(route.destination.network_address) for route in host.routes()]


async def test_attachments_are_known_again_after_a_restart_of_the_agent(real: Node) -> None:
    _, _, address = await a_pod(real, "known")
    again = PodNetwork(real.folder / "run/cni")
    assert [str(each.address) for each in again.attachments()] == [address]
    again.use(node.POD_RANGE, 1500)
    await again.check(again.attachments()[0].container_id)


async def test_a_pod_waits_while_the_node_has_no_pod_range(real: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(real.network, "_pool", None)
    with pytest.raises(RuntimeFailure, match="no pod range") as caught:
        await a_pod(real, "early")
    assert caught.value.reason == "CreatePodSandboxError"


async def until_missed(events: AsyncIterator[RuntimeEvent]) -> None:
    """It says that something may have been missed; what happened to a pod may come before that."""
    while await anext(events) != RuntimeEvent(""):
        pass


async def test_containerd_killed_comes_back_and_no_pod_noticed(real: Node) -> None:
    _, container_id, _ = await a_pod(real, "survivor")
    before = await real.runtime.container(container_id)
    former = pid_of(real.child)
    async with contextlib.aclosing(real.runtime.events()) as events:  # type: ignore[type-var]
        await until_missed(events)
        os.kill(former, signal.SIGKILL)
        await until_missed(events)
    assert pid_of(real.child) != former
    assert await real.runtime.container(container_id) == before
    assert (await real.runtime.exec_sync(container_id, ("echo", "here"), 5)).stdout == b"here\n"


async def test_containerd_that_hangs_is_noticed_and_started_again_and_no_pod_noticed(real: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "LIMIT_S", 0.5)
    real.patience.of_use()  # and from now on it is as short
    _, container_id, _ = await a_pod(real, "untouched")
    before = await real.runtime.container(container_id)
    former = pid_of(real.child)
    assert all(condition.ready for condition in await real.runtime.conditions())
    monkeypatch.setattr(cri, "PROBE_S", 0.5)  # not while it is asked in earnest: a busy machine takes longer
    os.kill(former, signal.SIGSTOP)
    with pytest.raises(RuntimeGone):
        await real.runtime.conditions()
    with trio.fail_after(30):
        while pid_of(real.child) == former:
            with contextlib.suppress(RuntimeGone):  # until the keeper's patience is at its end, which may be between two questions
                await real.runtime.conditions()
    await real.runtime.wait_until_there(20)
    assert await real.runtime.container(container_id) == before
    assert (await real.runtime.exec_sync(container_id, ("echo", "here"), 5)).stdout == b"here\n"


async def test_containerd_says_when_it_has_no_network_plugin_and_when_it_is_back(real: Node) -> None:
    async def network_ready(wanted: bool) -> RuntimeCondition:
        while True:
            found = next(each for each in await real.runtime.conditions() if each.type == "NetworkReady")
            if found.ready is wanted:
                return found

    (configuration,) = real.child.config.cni_conf.glob("*.conflist")
    configuration.unlink()
    lost = await network_ready(False)
    assert (lost.reason, lost.message) == ("NetworkPluginNotReady", "Network plugin returns error: cni plugin not initialized")
    await setup.install(real.child.config.cni_bin, real.child.config.cni_conf)
    assert await network_ready(True)


async def test_containerd_and_pods_outlive_the_agent_and_are_adopted(real: Node) -> None:
    _, container_id, _ = await a_pod(real, "orphan")
    former = pid_of(real.child)
    real.supervision.cancel()
    assert (await real.runtime.exec_sync(container_id, ("echo", "alone"), 5)).stdout == b"alone\n"
    async with trio.open_nursery() as nursery:
        await nursery.start(_run, real.child)
        assert pid_of(real.child) == former
        nursery.cancel_scope.cancel()


async def test_a_changed_configuration_restarts_containerd_and_keeps_its_pods(real: Node) -> None:
    _, container_id, _ = await a_pod(real, "kept")
    former = pid_of(real.child)
    real.supervision.cancel()
    changed = attrs.evolve(real.child, config=attrs.evolve(real.child.config, certs_dir=real.folder / "other"))
    async with trio.open_nursery() as nursery:
        await nursery.start(_run, changed)
        assert pid_of(real.child) != former
        assert (await real.runtime.exec_sync(container_id, ("echo", "kept"), 5)).stdout == b"kept\n"
        nursery.cancel_scope.cancel()


async def _run(child: containerd.Child, *, task_status: trio.TaskStatus[None]) -> None:
    await containerd.run(child, task_status=task_status)


async def test_a_terminal_has_the_size_it_is_given(real: Node) -> None:
    _, container_id, _ = await a_pod(real, "terminal")
    stdout = Collected()
    resized = trio.Event()

    async def resizes() -> AsyncIterator[tuple[int, int]]:
        yield 132, 43
        resized.set()

    async def stdin() -> AsyncIterator[bytes]:
        await resized.wait()
        yield b"stty size; exit 3\n"
        await trio.sleep_forever()

    code = await real.runtime.exec(container_id, ("sh",), tty=True, stdin=stdin(), stdout=stdout, stderr=None, resizes=resizes())
    assert code == 3
    assert b"43 132" in stdout.content


async def test_an_exec_whose_caller_goes_away_is_killed(real: Node) -> None:
    _, container_id, _ = await a_pod(real, "abandoned")
    stdout = Collected()
    async with trio.open_nursery() as nursery:

        async def run() -> None:
            command = ("sh", "-c", "echo $$; exec sleep 4711")
            await real.runtime.exec(container_id, command, tty=False, stdin=None, stdout=stdout, stderr=None, resizes=None)

        nursery.start_soon(run)
        await stdout.holds(b"\n")
        nursery.cancel_scope.cancel()
    with trio.fail_after(30):  # it was told to end
        while b"4711" in (await real.runtime.exec_sync(container_id, ("sh", "-c", "cat /proc/[0-9]*/cmdline"), 20)).stdout:
            pass


async def test_an_exec_whose_listener_broke_off_ends(real: Node) -> None:
    _, container_id, _ = await a_pod(real, "deaf")

    class Broken(Collected):
        async def send_all(self, data: bytes | bytearray | memoryview) -> None:
            raise trio.BrokenResourceError

    with pytest.raises(trio.BrokenResourceError):
        await real.runtime.exec(container_id, ("sh", "-c", "echo; sleep 1000"), tty=False, stdin=None, stdout=Broken(), stderr=None, resizes=None)


@pytest.mark.parametrize("packed", ["plain", "gzip", "zstd"])
async def test_an_archive_is_imported_however_it_is_packed(real: Node, packed: str) -> None:
    reference = f"example.org/packed/{packed}:1"
    plain = images.docker_archive(reference, {"hello": packed.encode()})
    path = trio.Path(real.folder / f"{packed}.tar")
    if packed == "gzip":
        plain = gzip.compress(plain)
    if packed == "zstd":
        if shutil.which("zstd") is None:
            pytest.skip("no zstd here")
        plain = (await process.run(["zstd", "-c"], stdin=plain)).stdout
    await path.write_bytes(plain)
    assert await real.runtime.import_images(path) == [reference]
    assert await real.runtime.import_images(path) == [reference]
    image = await real.runtime.image(reference)
    assert image is not None
    await real.runtime.remove_image(image.id)


async def test_what_is_no_archive_is_refused_with_its_name(real: Node) -> None:
    path = trio.Path(real.folder / "nonsense.tar")
    await path.write_bytes(b"nonsense" * 1000)
    with pytest.raises(RuntimeFailure, match=r"nonsense\.tar"):
        await real.runtime.import_images(path)


async def test_the_pause_image_is_there_and_pinned_in_use(real: Node) -> None:
    image = await real.runtime.image(pause.REFERENCE)
    assert image is not None
    assert image.size_bytes < 50_000


async def test_a_missing_containerd_is_said_with_the_way_out(folder: Path) -> None:
    child = attrs.evolve(node.child_in(folder), program="no-such-containerd")
    with pytest.raises(containerd.CannotRun, match="--container-runtime-endpoint"):
        await containerd.run(child)


async def test_a_containerd_that_does_not_come_up_is_said_with_its_last_words(tmp_path: Path) -> None:
    child = node.child_in(tmp_path)
    wrong = attrs.evolve(child, prefix=("sh", "-c", 'test "$2" = --version && exec containerd --version; echo woe is me; exit 1', "x"))
    with pytest.raises(containerd.CannotRun, match="woe is me"):
        await containerd.run(wrong)


async def test_after_a_power_cut_old_pods_are_cleared_away_and_new_ones_start(tmp_path: Path) -> None:
    with trio.fail_after(120):
        async with open_node(tmp_path) as real:
            sandbox_id, container_id, _ = await a_pod(real, "lost")
            real.supervision.cancel()
            await _power_cut(real, sandbox_id)
            network = PodNetwork(tmp_path / "run/cni")
            assert network.attachments() == []
            async with trio.open_nursery() as nursery:
                await nursery.start(_run, real.child)
                status = await real.runtime.sandbox(sandbox_id)
                assert status is not None
                assert not status.ready
                seen = await real.runtime.container(container_id)
                assert seen is not None
                assert seen.state == "exited"
                await real.runtime.remove_sandbox(sandbox_id)
                _, again, address = await a_pod(real, "found")
                assert await pings(real, again, address)
                for sandbox in await real.runtime.sandboxes():
                    await real.runtime.remove_sandbox(sandbox.id)
                nursery.cancel_scope.cancel()
        await trio.to_thread.run_sync(node.put_away, tmp_path)


async def _power_cut(real: Node, sandbox_id: str) -> None:
    """Every process of the node dies at once, and whatever is not on the disk is gone."""
    status = await real.runtime.sandbox(sandbox_id)
    assert status is not None
    _kill([pid_of(real.child), *_shims(real.child), *_members(status.pid)])
    _unmount(status.netns)
    Path(status.netns).unlink()  # noqa: ASYNC240  /run and /proc do not wait
    for mount in _mounts_below(real.child.config.state):
        _unmount(mount)
    shutil.rmtree(real.child.config.state)
    real.child.pid_file.unlink()


def _kill(pids: list[int]) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _unmount(mount: str) -> None:
    subprocess.run(["umount", "-l", mount], check=True)


def _mounts_below(folder: Path) -> list[str]:
    mounts = [line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines()]
    return sorted((mount for mount in mounts if mount.startswith(str(folder))), reverse=True)


def _shims(child: containerd.Child) -> list[int]:
    """They carry the socket's path, which is ours alone, among their arguments."""
    return [pid for pid in _pids() if str(child.config.socket) in _argument_line(pid)]


def _argument_line(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return ""


def _members(pid: int) -> list[int]:
    """Processes in the network namespace of this one."""
    wanted = _namespace(pid)
    assert wanted not in ("", _namespace(os.getpid()))
    return [other for other in _pids() if _namespace(other) == wanted]


def _namespace(pid: int) -> str:
    try:
        return os.readlink(f"/proc/{pid}/ns/net")
    except OSError:
        return ""


def _pids() -> list[int]:
    return [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit() and int(path.name) != os.getpid()]
