"""A container runtime in memory: honest about states, times, events and errors, with processes that are Python functions.

``async with open_runtime() as runtime`` gives one. Time comes from ``host/wallclock`` and from trio, so a virtual clock governs it. What a test may
turn: ``programs`` (what a command does), ``entrypoints`` (what an image runs), ``registry`` (what can be pulled), ``delays_s`` and ``failures`` (by
method name), ``go_away`` and ``come_back`` (the runtime dies and returns, containers go on), ``reboot`` and ``end`` (a container ends by itself).
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import math
import tarfile
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import attrs
import orjson
import trio

from edgek.agent.runtime.runtime import (
    Container,
    ContainerStatus,
    ExecResult,
    Image,
    ImageNotFound,
    RegistryAuth,
    Resources,
    RuntimeCondition,
    RuntimeEvent,
    RuntimeFailure,
    RuntimeGone,
    Sandbox,
    SandboxStatus,
    Usage,
)
from edgek.host import wallclock
from tests.fakes.programs import PROGRAMS, Process, Program
from tests.fakes.streams import Collected

SIGKILLED = 137


@attrs.define
class _Box:
    wanted: Sandbox
    status: SandboxStatus


@attrs.define
class _Case:
    """A container and its process."""

    wanted: Container
    sandbox: Sandbox
    status: ContainerStatus
    resources: Resources
    output: list[tuple[int, bytes]] = attrs.field(factory=list)
    grown: trio.Event = attrs.field(factory=trio.Event)  # set and replaced when there is more output
    over: trio.Event = attrs.field(factory=trio.Event)
    scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)
    term: trio.Event = attrs.field(factory=trio.Event)
    to_stdin: trio.MemorySendChannel[bytes] | None = None
    ending: tuple[int, str] = (SIGKILLED, "Error")


@contextlib.asynccontextmanager
async def open_runtime() -> AsyncIterator[FakeRuntime]:
    async with trio.open_nursery() as nursery:
        yield FakeRuntime(nursery)
        nursery.cancel_scope.cancel()


class FakeRuntime:
    """Passes ``tests/contract/test_runtime.py``, like the real one."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self._nursery = nursery
        self._serial = itertools.count(1)
        self.network = RuntimeCondition("NetworkReady", True)
        self._boxes: dict[str, _Box] = {}
        self._cases: dict[str, _Case] = {}
        self._images: dict[str, Image] = {}
        self._listeners: set[trio.MemorySendChannel[RuntimeEvent]] = set()
        self._gone = False
        self.programs: dict[str, Program] = dict(PROGRAMS)
        self.entrypoints: dict[str, tuple[str, ...]] = {}  # by image reference; others run "forever"
        self.registry: set[str] = set()
        self.pulls_anything = False
        self.pod_range = "10.42"  # how pods' addresses begin: other runtimes may stand beside this one
        self.delays_s: dict[str, float] = {}  # by method name
        self.failures: dict[str, list[Exception]] = {}  # by method name; each is raised once
        self.calls: list[tuple[str, str]] = []  # (method, id or name), of calls that change something

    # What a test does to it.

    def go_away(self) -> None:
        self._gone = True

    def come_back(self) -> None:
        self._gone = False
        self._tell(RuntimeEvent(""))

    def end(self, container_id: str, exit_code: int, reason: str = "") -> None:
        """The container's process ends by itself (or the kernel's: reason ``OOMKilled``)."""
        case = self._cases[container_id]
        case.ending = exit_code, reason or ("Completed" if exit_code == 0 else "Error")
        case.scope.cancel()

    def reboot(self) -> None:
        """The machine starts again: every process is gone, every sandbox is not ready."""
        for container_id, case in self._cases.items():
            if case.status.state == "running":
                self.end(container_id, 255, "Unknown")
        for box in self._boxes.values():
            box.status = attrs.evolve(box.status, ready=False, netns="", pid=0)

    def add_image(self, reference: str, *, user: str = "", size_bytes: int = 1_000_000) -> Image:
        """It is there without a pull."""
        image_id = f"sha256:{hashlib.sha256(_full(reference).encode()).hexdigest()}"
        known = self._images.get(image_id)
        image = known or Image(image_id, (_full(reference),), (f"{_repository(reference)}@{image_id}",), size_bytes, user)
        self._images[image_id] = image
        return image

    def output(self, container_id: str) -> bytes:
        return b"".join(chunk for _, chunk in self._cases[container_id].output)

    def resources(self, container_id: str) -> Resources:
        return self._cases[container_id].resources

    # The protocol.

    async def conditions(self) -> Sequence[RuntimeCondition]:
        await self._enter("conditions", "")
        return [RuntimeCondition("RuntimeReady", True), self.network]

    async def version(self) -> tuple[str, str]:
        await self._enter("version", "")
        return "fake", "1.0"

    async def run_sandbox(self, sandbox: Sandbox) -> str:
        await self._enter("run_sandbox", sandbox.name)
        same = (sandbox.name, sandbox.namespace, sandbox.uid, sandbox.attempt)
        for other in self._boxes.values():
            if same == (other.wanted.name, other.wanted.namespace, other.wanted.uid, other.wanted.attempt):
                raise RuntimeFailure(f"failed to reserve sandbox name {same}: it is reserved for {other.status.id}", "CreatePodSandboxError")
        number = next(self._serial)
        ips = () if sandbox.host_network else (f"{self.pod_range}.{number // 250}.{number % 250 + 2}",)
        status = SandboxStatus(
            id=f"{number:064x}", name=sandbox.name, namespace=sandbox.namespace, uid=sandbox.uid, attempt=sandbox.attempt, ready=True,
            created_at=wallclock.now(), ips=ips, labels=dict(sandbox.labels), annotations=dict(sandbox.annotations),
            netns="" if sandbox.host_network else f"/run/netns/fake-{number}", pid=number,
        )  # fmt: skip
        self._boxes[status.id] = _Box(sandbox, status)
        self._tell(RuntimeEvent(status.id, "start"))
        return status.id

    async def stop_sandbox(self, sandbox_id: str) -> None:
        await self._enter("stop_sandbox", sandbox_id)
        await self._stop_sandbox(sandbox_id)

    async def _stop_sandbox(self, sandbox_id: str) -> None:
        box = self._boxes.get(sandbox_id)
        if box is None:
            return
        for case in list(self._cases.values()):
            if case.status.sandbox_id == sandbox_id and case.status.state == "running":
                case.scope.cancel()
                await case.over.wait()
        if box.status.ready:
            box.status = attrs.evolve(box.status, ready=False, netns="", pid=0)
            self._tell(RuntimeEvent(sandbox_id, "exit", SIGKILLED))

    async def remove_sandbox(self, sandbox_id: str) -> None:
        await self._enter("remove_sandbox", sandbox_id)
        await self._stop_sandbox(sandbox_id)
        for container_id in [key for key, case in self._cases.items() if case.status.sandbox_id == sandbox_id]:
            del self._cases[container_id]
        if self._boxes.pop(sandbox_id, None) is not None:
            self._tell(RuntimeEvent(sandbox_id, "delete"))

    async def sandboxes(self, *, uid: str = "") -> Sequence[SandboxStatus]:
        await self._enter("sandboxes", "", changes=False)
        return [attrs.evolve(box.status, netns="") for box in self._boxes.values() if not uid or box.status.uid == uid]

    async def sandbox(self, sandbox_id: str) -> SandboxStatus | None:
        await self._enter("sandbox", "", changes=False)
        box = self._boxes.get(sandbox_id)
        return box.status if box else None

    async def create_container(self, sandbox_id: str, container: Container, sandbox: Sandbox) -> str:
        await self._enter("create_container", container.name)
        box = self._boxes.get(sandbox_id)
        if box is None or not box.status.ready:
            raise RuntimeFailure(f"sandbox {sandbox_id} is not running", "CreateContainerError")
        image = self._image(container.image)
        if image is None:
            raise RuntimeFailure(f"image {container.image} is not on this node", "CreateContainerError")
        if any(
            c.status.sandbox_id == sandbox_id and (c.wanted.name, c.wanted.attempt) == (container.name, container.attempt)
            for c in self._cases.values()
        ):
            raise RuntimeFailure(f"container name {container.name}_{container.attempt} is reserved", "CreateContainerError")
        status = ContainerStatus(
            id=f"c{next(self._serial):063x}", sandbox_id=sandbox_id, name=container.name, attempt=container.attempt, state="created",
            image=container.image, image_id=image.digests[0], created_at=wallclock.now(), started_at=0, finished_at=0, exit_code=0, reason="",
            message="", labels=dict(container.labels), annotations=dict(container.annotations), log_path=_log_file(sandbox, container),
        )  # fmt: skip
        self._cases[status.id] = _Case(container, sandbox, status, container.resources)
        self._tell(RuntimeEvent(status.id, "create"))
        return status.id

    async def start_container(self, container_id: str) -> None:
        await self._enter("start_container", container_id)
        case = self._case(container_id)
        if case.status.state != "created":
            raise RuntimeFailure(f"container {container_id} is in {case.status.state} state", "RunContainerError")
        wanted, now = case.wanted, wallclock.now()
        argv = (*(wanted.command or self.entrypoints.get(wanted.image, ("forever",))), *wanted.args)
        program = self.programs.get(argv[0])
        if program is None:
            message = f'exec: "{argv[0]}": executable file not found in $PATH'
            case.status = attrs.evolve(
                case.status, state="exited", started_at=0, finished_at=now, exit_code=128, reason="StartError", message=message
            )
            raise RuntimeFailure(message, "RunContainerError")
        stdin = None
        if wanted.stdin:
            case.to_stdin, stdin = trio.open_memory_channel[bytes](math.inf)
        case.status = attrs.evolve(case.status, state="running", started_at=now, pid=int(container_id[1:], 16))
        process = Process(argv, dict(wanted.env), stdin, lambda stream, chunk: self._write(case, stream, chunk), term=case.term)
        self._nursery.start_soon(self._run, case, program, process)
        self._tell(RuntimeEvent(container_id, "start"))

    async def stop_container(self, container_id: str, grace_s: float) -> None:
        await self._enter("stop_container", container_id)
        case = self._cases.get(container_id)
        if case is None or case.status.state != "running":
            return
        case.term.set()
        with trio.move_on_after(grace_s):
            await case.over.wait()
            return
        case.scope.cancel()
        await case.over.wait()

    async def remove_container(self, container_id: str) -> None:
        await self._enter("remove_container", container_id)
        case = self._cases.get(container_id)
        if case is None:
            return
        if case.status.state == "running":
            case.scope.cancel()
            await case.over.wait()
        del self._cases[container_id]
        self._tell(RuntimeEvent(container_id, "delete"))

    async def containers(self, *, sandbox_id: str = "") -> Sequence[ContainerStatus]:
        await self._enter("containers", "", changes=False)
        return [case.status for case in self._cases.values() if not sandbox_id or case.status.sandbox_id == sandbox_id]

    async def container(self, container_id: str) -> ContainerStatus | None:
        await self._enter("container", "", changes=False)
        case = self._cases.get(container_id)
        return case.status if case else None

    async def update_resources(self, container_id: str, resources: Resources) -> None:
        await self._enter("update_resources", container_id)
        self._case(container_id).resources = resources

    async def reopen_log(self, container_id: str) -> None:
        await self._enter("reopen_log", container_id)
        if self._case(container_id).status.state != "running":
            raise RuntimeFailure("container is not running")

    async def exec_sync(self, container_id: str, command: Sequence[str], timeout_s: float) -> ExecResult:
        stdout, stderr = Collected(), Collected()
        with trio.fail_after(timeout_s):
            code = await self.exec(container_id, command, tty=False, stdin=None, stdout=stdout, stderr=stderr, resizes=None)
        return ExecResult(code, bytes(stdout.content), bytes(stderr.content))

    async def exec(
        self,
        container_id: str,
        command: Sequence[str],
        *,
        tty: bool,
        stdin: AsyncIterator[bytes] | None,
        stdout: trio.abc.SendStream | None,
        stderr: trio.abc.SendStream | None,
        resizes: AsyncIterator[tuple[int, int]] | None,
    ) -> int:
        await self._enter("exec", container_id)
        case = self._running(container_id)
        program = self.programs.get(command[0])
        if program is None:
            raise RuntimeFailure(f'exec: "{command[0]}": executable file not found in $PATH')

        async def write(stream: int, chunk: bytes) -> None:
            target = stdout if stream == 1 or tty else stderr
            if target is not None:
                await target.send_all(chunk)

        return await program(Process(tuple(command), dict(case.wanted.env), stdin, write, resizes))

    async def attach(
        self,
        container_id: str,
        *,
        tty: bool,
        stdin: AsyncIterator[bytes] | None,
        stdout: trio.abc.SendStream | None,
        stderr: trio.abc.SendStream | None,
        resizes: AsyncIterator[tuple[int, int]] | None,
    ) -> None:
        await self._enter("attach", container_id)
        case = self._running(container_id)
        async with trio.open_nursery() as nursery:
            if stdin is not None and case.to_stdin is not None:
                nursery.start_soon(_feed, stdin, case.to_stdin, case.wanted.stdin_once)
            await _follow(case, {1: stdout, 2: stdout if tty else stderr})
            nursery.cancel_scope.cancel()

    async def images(self) -> Sequence[Image]:
        await self._enter("images", "", changes=False)
        return list(self._images.values())

    async def image(self, reference: str) -> Image | None:
        await self._enter("image", "", changes=False)
        return self._image(reference)

    async def pull_image(self, reference: str, auths: Sequence[RegistryAuth], *, namespace: str = "") -> Image:
        await self._enter("pull_image", reference)
        if not self.pulls_anything and reference not in self.registry:
            raise ImageNotFound(f"failed to resolve reference {reference!r}: not found", "ErrImagePull")
        return self.add_image(reference)

    async def import_images(self, archive: trio.Path) -> Sequence[str]:
        await self._enter("import_images", str(archive))
        with tarfile.open(archive) as tar:
            member = tar.extractfile("manifest.json")
            names = [tag for entry in orjson.loads(member.read() if member else b"[]") for tag in entry["RepoTags"]]
        return [self.add_image(name).tags[0] for name in names]

    async def remove_image(self, image_id: str) -> None:
        await self._enter("remove_image", image_id)
        image = self._image(image_id)
        if image is not None:
            del self._images[image.id]

    async def drop_partial_pulls(self) -> None:
        await self._enter("drop_partial_pulls", "")

    async def image_filesystem(self) -> tuple[str, int, int]:
        await self._enter("image_filesystem", "", changes=False)
        return "/", sum(image.size_bytes for image in self._images.values()), len(self._images)

    async def usage(self) -> Sequence[Usage]:
        await self._enter("usage", "", changes=False)
        now = wallclock.now()
        running = [case.status for case in self._cases.values() if case.status.state == "running"]
        return [Usage(s.sandbox_id, s.id, int((now - s.started_at) * 1e6), 4 << 20, 2 << 20, now) for s in running]

    async def events(self) -> AsyncIterator[RuntimeEvent]:
        send, receive = trio.open_memory_channel[RuntimeEvent](math.inf)
        self._listeners.add(send)
        try:
            async for event in receive:
                yield event
        finally:
            self._listeners.discard(send)

    # How it works.

    async def _enter(self, method: str, subject: str, *, changes: bool = True) -> None:
        await trio.sleep(self.delays_s.get(method, 0))
        if self._gone:
            raise RuntimeGone("the runtime does not answer")
        if changes:
            self.calls.append((method, subject))
        queued = self.failures.get(method)
        if queued:
            raise queued.pop(0)

    async def _run(self, case: _Case, program: Program, process: Process) -> None:
        with case.scope:
            code = await program(process)
            case.ending = code, "Completed" if code == 0 else "Error"
        code, reason = case.ending
        case.status = attrs.evolve(case.status, state="exited", finished_at=wallclock.now(), exit_code=code, reason=reason, pid=0)
        case.over.set()
        case.grown.set()
        self._tell(RuntimeEvent(case.status.id, "exit", code))

    async def _write(self, case: _Case, stream: int, chunk: bytes) -> None:
        await trio.lowlevel.checkpoint()
        case.output.append((stream, chunk))
        case.grown.set()
        case.grown = trio.Event()
        _append(case.status.log_path, stream, chunk)

    def _tell(self, event: RuntimeEvent) -> None:
        if not self._gone:
            for listener in self._listeners:
                listener.send_nowait(event)

    def _case(self, container_id: str) -> _Case:
        case = self._cases.get(container_id)
        if case is None:
            raise RuntimeFailure(f"container {container_id} not found")
        return case

    def _running(self, container_id: str) -> _Case:
        case = self._case(container_id)
        if case.status.state != "running":
            raise RuntimeFailure(f"container {container_id} is not running")
        return case

    def _image(self, reference: str) -> Image | None:
        for image in self._images.values():
            if reference == image.id or _full(reference) in image.tags or reference in image.digests:
                return image
        return None


async def _feed(stdin: AsyncIterator[bytes], to: trio.MemorySendChannel[bytes], once: bool) -> None:
    async for chunk in stdin:
        await to.send(chunk)
    if once:
        to.close()


async def _follow(case: _Case, targets: dict[int, trio.abc.SendStream | None]) -> None:
    """Hand over what the container writes from now on, until it ends."""
    seen = len(case.output)
    while True:
        grown = case.grown
        for stream, chunk in case.output[seen:]:
            target = targets[stream]
            if target is not None:
                await target.send_all(chunk)
        seen = len(case.output)
        if case.over.is_set():
            return
        await grown.wait()


def _log_file(sandbox: Sandbox, container: Container) -> str:
    return f"{sandbox.log_directory}/{container.log_path}" if sandbox.log_directory and container.log_path else ""


def _append(log_file: str, stream: int, chunk: bytes) -> None:
    if log_file and Path(log_file).parent.is_dir():
        with Path(log_file).open("ab") as log:
            log.writelines(_log_line(stream, line) for line in chunk.splitlines(keepends=True))


def _log_line(stream: int, line: bytes) -> bytes:
    tag = "F" if line.endswith(b"\n") else "P"
    return f"{wallclock.now_micro()} {'stdout' if stream == 1 else 'stderr'} {tag} ".encode() + line.rstrip(b"\n") + b"\n"


def _repository(reference: str) -> str:
    return _full(reference).rpartition(":")[0]


def _full(reference: str) -> str:
    """``busybox`` is ``docker.io/library/busybox:latest``, as the runtime lists it."""
    first, slash, _ = reference.partition("/")
    if not slash or not ("." in first or ":" in first or first == "localhost"):
        reference = f"docker.io/{reference}" if slash else f"docker.io/library/{reference}"
    return reference if ":" in reference.rpartition("/")[2] else f"{reference}:latest"
