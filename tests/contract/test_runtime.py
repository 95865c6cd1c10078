"""What every Runtime does, the one in memory and the one behind containerd alike."""

from __future__ import annotations

import contextlib
import itertools
import re
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import attrs
import pytest
import trio

from edgek.agent.runtime.runtime import Container, Resources, Runtime, RuntimeFailure, Sandbox, SecurityContext
from tests.fakes import node
from tests.fakes.runtime import open_runtime
from tests.fakes.streams import Collected

NUMBERS = itertools.count(1)
WAIT_S = 60.0  # a scene that takes longer has failed


@attrs.frozen
class Rig:
    """A runtime, an image it has, and how to say some things in commands of that image."""

    runtime: Runtime
    image: str
    absent: str  # an image that no registry has
    forever: tuple[str, ...]  # ends at TERM
    stubborn: tuple[str, ...]  # does not
    settled: tuple[str, ...]  # run beside one of those two: returns when it is ready for a TERM
    cat: tuple[str, ...]
    exits: Callable[[int], tuple[str, ...]]
    says: Callable[[str], tuple[str, ...]]
    complains: Callable[[str], tuple[str, ...]]  # to stderr; exit code 1
    unknown: tuple[str, ...] = ("no-such-program",)


@contextlib.asynccontextmanager
async def _in_memory() -> AsyncIterator[Rig]:
    async with open_runtime() as runtime:
        runtime.add_image("example.org/box:1")
        yield Rig(
            runtime,
            "example.org/box:1",
            "127.0.0.1:1/no/such:1",
            ("forever",),
            ("stubborn",),
            ("echo",),
            ("cat",),
            exits=lambda code: ("exit", str(code)),
            says=lambda text: ("echo", text),
            complains=lambda text: ("complain", text),
        )


@contextlib.asynccontextmanager
async def _in_containerd(folder: Path) -> AsyncIterator[Rig]:
    async with node.open_node(folder) as real:
        yield Rig(
            real.runtime,
            node.BOX,
            "127.0.0.1:1/no/such:1",
            ("sh", "-c", "trap 'exit 0' TERM; mkdir /ready; sleep 1000 & wait"),
            ("sh", "-c", "trap '' TERM; mkdir /ready; while true; do sleep 1; done"),
            ("sh", "-c", "until [ -d /ready ]; do sleep 0.02; done"),
            ("cat",),
            exits=lambda code: ("sh", "-c", f"exit {code}"),
            says=lambda text: ("echo", text),
            complains=lambda text: ("sh", "-c", f"echo {text} >&2; exit 1"),
        )


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="edgek-rt-") as made:
        yield Path(made)
        node.put_away(Path(made))


@pytest.fixture(params=["memory", pytest.param("containerd", marks=[pytest.mark.root, pytest.mark.node])])
async def rig(request: pytest.FixtureRequest, folder: Path) -> AsyncIterator[Rig]:
    with trio.fail_after(WAIT_S):
        async with _in_memory() if request.param == "memory" else _in_containerd(folder) as built:
            yield built


def a_sandbox(**changes: object) -> Sandbox:
    number = next(NUMBERS)
    sandbox = Sandbox(
        name=f"pod-{number}", namespace="default", uid=f"uid-{number}", attempt=0, hostname=f"pod-{number}", log_directory="",
        cgroup_parent=f"{node.CGROUP}/pod", labels={"io.kubernetes.pod.name": f"pod-{number}"}, annotations={"note": "kept"},
    )  # fmt: skip
    return attrs.evolve(sandbox, **changes)  # type: ignore[arg-type]  # evolve checks names itself


def a_container(rig: Rig, command: tuple[str, ...], **changes: object) -> Container:
    container = Container(
        name="main", attempt=0, image=rig.image, command=command, args=(), working_dir="", env=(("A", "1"),), mounts=(), devices=(),
        labels={"io.kubernetes.container.name": "main"}, annotations={"hash": "abc"}, log_path="", stdin=False, stdin_once=False, tty=False,
        resources=Resources(), security=SecurityContext(),
    )  # fmt: skip
    return attrs.evolve(container, **changes)  # type: ignore[arg-type]


async def running(rig: Rig, command: tuple[str, ...], **changes: object) -> tuple[str, str]:
    sandbox = a_sandbox()
    sandbox_id = await rig.runtime.run_sandbox(sandbox)
    container_id = await rig.runtime.create_container(sandbox_id, a_container(rig, command, **changes), sandbox)
    await rig.runtime.start_container(container_id)
    return sandbox_id, container_id


async def exited(rig: Rig, container_id: str, since: AsyncIterator[object]) -> int:
    """The exit code, once events told of it."""
    while True:
        status = await rig.runtime.container(container_id)
        assert status is not None
        if status.state == "exited":
            return status.exit_code
        await anext(since)


@contextlib.asynccontextmanager
async def listening(rig: Rig) -> AsyncIterator[AsyncIterator[object]]:
    """Events from now on."""
    async with trio.open_nursery() as nursery:
        send, receive = trio.open_memory_channel[object](1000)

        async def listen(task_status: trio.TaskStatus[None]) -> None:
            async with contextlib.aclosing(rig.runtime.events()) as events:  # type: ignore[type-var]  # the protocol promises an iterator only
                task_status.started()
                async for event in events:
                    await send.send(event)

        await nursery.start(listen)
        yield receive
        nursery.cancel_scope.cancel()


async def test_it_names_itself(rig: Rig) -> None:
    name, version = await rig.runtime.version()
    assert name
    assert version


async def test_it_says_how_it_is(rig: Rig) -> None:
    assert {condition.type: condition.ready for condition in await rig.runtime.conditions()} == {"RuntimeReady": True, "NetworkReady": True}


async def test_a_sandbox_comes_back_as_it_was_wanted(rig: Rig) -> None:
    wanted = a_sandbox()
    sandbox_id = await rig.runtime.run_sandbox(wanted)
    status = await rig.runtime.sandbox(sandbox_id)
    assert status is not None
    assert (status.name, status.namespace, status.uid, status.attempt) == (wanted.name, wanted.namespace, wanted.uid, wanted.attempt)
    assert status.ready
    assert dict(status.labels) == dict(wanted.labels)
    assert dict(status.annotations) == dict(wanted.annotations)
    assert status.ips
    assert status.netns
    assert [box.id for box in await rig.runtime.sandboxes(uid=wanted.uid)] == [sandbox_id]


async def test_a_sandbox_of_the_host_network_has_no_address_of_its_own(rig: Rig) -> None:
    sandbox_id = await rig.runtime.run_sandbox(a_sandbox(host_network=True, hostname=""))
    status = await rig.runtime.sandbox(sandbox_id)
    assert status is not None
    assert not status.ips
    assert not status.netns


async def test_a_second_sandbox_of_the_same_attempt_is_refused(rig: Rig) -> None:
    wanted = a_sandbox()
    await rig.runtime.run_sandbox(wanted)
    with pytest.raises(RuntimeFailure):
        await rig.runtime.run_sandbox(wanted)
    assert await rig.runtime.run_sandbox(attrs.evolve(wanted, attempt=1))


async def test_a_container_runs_and_stops_at_term(rig: Rig) -> None:
    sandbox_id, container_id = await running(rig, rig.forever)
    status = await rig.runtime.container(container_id)
    assert status is not None
    assert status.state == "running"
    assert status.sandbox_id == sandbox_id
    assert 0 < status.created_at <= status.started_at
    assert status.finished_at == 0
    assert status.image_id
    assert dict(status.labels) == {"io.kubernetes.container.name": "main"}
    assert dict(status.annotations) == {"hash": "abc"}
    await rig.runtime.exec_sync(container_id, rig.settled, 10)
    with trio.fail_after(20):
        await rig.runtime.stop_container(container_id, 30)
    status = await rig.runtime.container(container_id)
    assert status is not None
    assert status.state == "exited"
    assert status.finished_at >= status.started_at


async def test_a_container_that_ignores_term_is_killed_after_its_grace(rig: Rig) -> None:
    _, container_id = await running(rig, rig.stubborn)
    await rig.runtime.exec_sync(container_id, rig.settled, 10)
    began = trio.current_time()
    await rig.runtime.stop_container(container_id, 1)
    assert trio.current_time() - began >= 0.9
    status = await rig.runtime.container(container_id)
    assert status is not None
    assert (status.state, status.exit_code, status.reason) == ("exited", 137, "Error")


@pytest.mark.parametrize(("code", "reason"), [(0, "Completed"), (7, "Error")])
async def test_an_exit_is_told_at_once_with_its_code_and_reason(rig: Rig, code: int, reason: str) -> None:
    async with listening(rig) as events:
        _, container_id = await running(rig, rig.exits(code))
        assert await exited(rig, container_id, events) == code
        status = await rig.runtime.container(container_id)
        assert status is not None
        assert status.reason == reason


async def test_a_started_container_does_not_start_again(rig: Rig) -> None:
    _, container_id = await running(rig, rig.forever)
    with pytest.raises(RuntimeFailure):
        await rig.runtime.start_container(container_id)


async def test_a_program_that_is_not_there_leaves_an_exited_container(rig: Rig) -> None:
    with pytest.raises(RuntimeFailure) as caught:
        await running(rig, rig.unknown)
    assert caught.value.reason == "RunContainerError"
    assert "executable file not found" in str(caught.value)
    (status,) = [c for c in await rig.runtime.containers() if c.state == "exited"]
    seen = await rig.runtime.container(status.id)
    assert seen is not None
    assert (seen.exit_code, seen.reason) == (128, "StartError")


async def test_a_container_of_an_image_that_is_not_there_is_refused(rig: Rig) -> None:
    sandbox = a_sandbox()
    sandbox_id = await rig.runtime.run_sandbox(sandbox)
    with pytest.raises(RuntimeFailure) as caught:
        await rig.runtime.create_container(sandbox_id, a_container(rig, rig.forever, image=rig.absent), sandbox)
    assert caught.value.reason == "CreateContainerError"


async def test_removing_what_is_gone_is_success_and_reading_it_is_none(rig: Rig) -> None:
    sandbox_id, container_id = await running(rig, rig.forever)
    for _ in range(2):
        await rig.runtime.stop_sandbox(sandbox_id)
        await rig.runtime.remove_container(container_id)
        await rig.runtime.remove_sandbox(sandbox_id)
        await rig.runtime.stop_container(container_id, 0)
    assert await rig.runtime.sandbox(sandbox_id) is None
    assert await rig.runtime.container(container_id) is None
    assert await rig.runtime.containers(sandbox_id=sandbox_id) == []


async def test_a_stopped_sandbox_has_ended_its_containers_and_is_not_ready(rig: Rig) -> None:
    sandbox_id, container_id = await running(rig, rig.forever)
    await rig.runtime.stop_sandbox(sandbox_id)
    box, case = await rig.runtime.sandbox(sandbox_id), await rig.runtime.container(container_id)
    assert box is not None
    assert not box.ready
    assert case is not None
    assert case.state == "exited"


async def test_a_removed_sandbox_takes_its_containers_along(rig: Rig) -> None:
    sandbox_id, container_id = await running(rig, rig.forever)
    await rig.runtime.remove_sandbox(sandbox_id)
    assert await rig.runtime.container(container_id) is None


async def test_exec_returns_output_errors_and_code_apart(rig: Rig) -> None:
    _, container_id = await running(rig, rig.forever)
    said = await rig.runtime.exec_sync(container_id, rig.says("hello"), 10)
    assert (said.exit_code, said.stdout, said.stderr) == (0, b"hello\n", b"")
    complained = await rig.runtime.exec_sync(container_id, rig.complains("woe"), 10)
    assert (complained.exit_code, complained.stdout, complained.stderr) == (1, b"", b"woe\n")


async def test_an_exec_that_takes_too_long_is_given_up(rig: Rig) -> None:
    _, container_id = await running(rig, rig.forever)
    with pytest.raises(trio.TooSlowError):
        await rig.runtime.exec_sync(container_id, rig.forever, 1)


async def test_an_exec_of_a_program_that_is_not_there_fails(rig: Rig) -> None:
    _, container_id = await running(rig, rig.forever)
    with pytest.raises(RuntimeFailure, match="executable file not found"):
        await rig.runtime.exec_sync(container_id, rig.unknown, 5)
    with pytest.raises(RuntimeFailure, match="executable file not found"):
        await rig.runtime.exec(container_id, rig.unknown, tty=False, stdin=None, stdout=None, stderr=None, resizes=None)


async def test_the_end_of_stdin_is_the_end_of_file_for_an_exec(rig: Rig) -> None:
    _, container_id = await running(rig, rig.forever)
    stdout = Collected()
    big = b"x" * 300_000  # more than a pipe holds

    async def stdin() -> AsyncIterator[bytes]:
        yield b"one\n"
        yield big

    code = await rig.runtime.exec(container_id, rig.cat, tty=False, stdin=stdin(), stdout=stdout, stderr=None, resizes=None)
    assert code == 0
    assert bytes(stdout.content) == b"one\n" + big


async def test_attach_speaks_with_the_first_process(rig: Rig) -> None:
    _, container_id = await running(rig, rig.cat, stdin=True, stdin_once=True)
    stdout = Collected()

    async def stdin() -> AsyncIterator[bytes]:
        yield b"ping\n"
        await stdout.holds(b"ping\n")

    async with listening(rig) as events:
        await rig.runtime.attach(container_id, tty=False, stdin=stdin(), stdout=stdout, stderr=None, resizes=None)
        assert await exited(rig, container_id, events) == 0
    assert bytes(stdout.content) == b"ping\n"


async def test_output_is_logged_line_by_line_with_time_and_stream(rig: Rig, tmp_path: Path) -> None:
    sandbox = a_sandbox(log_directory=str(tmp_path))
    sandbox_id = await rig.runtime.run_sandbox(sandbox)
    async with listening(rig) as events:
        for name, command in (("out", rig.says("hello")), ("err", rig.complains("woe"))):
            container = a_container(rig, command, name=name, log_path=f"{name}.log")
            container_id = await rig.runtime.create_container(sandbox_id, container, sandbox)
            await rig.runtime.start_container(container_id)
            await exited(rig, container_id, events)
            status = await rig.runtime.container(container_id)
            assert status is not None
            assert status.log_path == str(tmp_path / f"{name}.log")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z stdout F hello\n", (tmp_path / "out.log").read_text())
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z stderr F woe\n", (tmp_path / "err.log").read_text())


async def test_a_log_that_was_moved_away_is_opened_anew(rig: Rig, tmp_path: Path) -> None:
    sandbox = a_sandbox(log_directory=str(tmp_path))
    sandbox_id = await rig.runtime.run_sandbox(sandbox)
    container_id = await rig.runtime.create_container(sandbox_id, a_container(rig, rig.cat, log_path="a.log", stdin=True), sandbox)
    await rig.runtime.start_container(container_id)
    await say(rig, container_id, b"before\n")
    (tmp_path / "a.log").rename(tmp_path / "a.log.1")
    await rig.runtime.reopen_log(container_id)
    await say(rig, container_id, b"after\n")
    while "after" not in (tmp_path / "a.log").read_text():
        await trio.lowlevel.checkpoint()
    assert "before" in (tmp_path / "a.log.1").read_text()


async def say(rig: Rig, container_id: str, word: bytes) -> None:
    """To the first process, and wait until it has come back."""
    stdout = Collected()

    async def stdin() -> AsyncIterator[bytes]:
        yield word
        await trio.sleep_forever()

    async with trio.open_nursery() as nursery:

        async def attach() -> None:
            await rig.runtime.attach(container_id, tty=False, stdin=stdin(), stdout=stdout, stderr=None, resizes=None)

        nursery.start_soon(attach)
        await stdout.holds(word)
        nursery.cancel_scope.cancel()


async def test_what_ended_takes_no_exec_no_attach_and_no_new_log(rig: Rig) -> None:
    async with listening(rig) as events:
        _, container_id = await running(rig, rig.exits(0))
        await exited(rig, container_id, events)
    with pytest.raises(RuntimeFailure):
        await rig.runtime.exec(container_id, rig.says("x"), tty=False, stdin=None, stdout=None, stderr=None, resizes=None)
    with pytest.raises(RuntimeFailure):
        await rig.runtime.attach(container_id, tty=False, stdin=None, stdout=None, stderr=None, resizes=None)
    with pytest.raises(RuntimeFailure):
        await rig.runtime.reopen_log(container_id)


async def test_resources_of_a_running_container_change(rig: Rig) -> None:
    _, container_id = await running(rig, rig.forever, resources=Resources(cpu_shares=100, memory_limit_bytes=64 << 20))
    await rig.runtime.update_resources(container_id, Resources(cpu_shares=200, memory_limit_bytes=96 << 20))
    status = await rig.runtime.container(container_id)
    assert status is not None
    assert status.state == "running"


async def test_usage_has_one_entry_for_a_running_container(rig: Rig) -> None:
    sandbox_id, container_id = await running(rig, rig.forever)
    (usage,) = [entry for entry in await rig.runtime.usage() if entry.container_id == container_id]
    assert usage.sandbox_id == sandbox_id
    assert usage.memory_working_set_bytes > 0
    assert usage.at > 0


async def test_an_image_is_known_by_its_name_and_its_id(rig: Rig) -> None:
    image = await rig.runtime.image(rig.image)
    assert image is not None
    assert image.size_bytes > 0
    assert await rig.runtime.image(image.id) == image
    assert image.id in [other.id for other in await rig.runtime.images()]


async def test_an_image_that_is_not_there_is_none_and_cannot_be_pulled(rig: Rig) -> None:
    assert await rig.runtime.image(rig.absent) is None
    with pytest.raises(RuntimeFailure) as caught:
        await rig.runtime.pull_image(rig.absent, ())
    assert caught.value.reason == "ErrImagePull"


async def test_dropping_partial_pulls_touches_no_image(rig: Rig) -> None:
    await rig.runtime.drop_partial_pulls()
    await rig.runtime.drop_partial_pulls()
    assert await rig.runtime.image(rig.image) is not None


async def test_removing_an_image_twice_is_success(rig: Rig) -> None:
    image = await rig.runtime.image(rig.image)
    assert image is not None
    await rig.runtime.remove_image(image.id)
    await rig.runtime.remove_image(image.id)
    assert await rig.runtime.image(rig.image) is None
