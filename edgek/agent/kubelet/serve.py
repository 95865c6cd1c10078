"""The node's door: logs, exec, attach, port-forward and the kubelet's own pages, for the API server. Implements ``client/node.py``'s NodeDoor."""

from __future__ import annotations

import contextlib
import html
import socket
from collections.abc import AsyncGenerator, AsyncIterator
from pathlib import Path
from typing import TypedDict

import orjson
import trio

from edgek.agent.kubelet import logs, stats, volume_stats
from edgek.agent.kubelet.loop import Kubelet
from edgek.agent.kubelet.volume_stats import VolumeUse
from edgek.agent.kubelet.worker import PodWorker
from edgek.agent.runtime.runtime import ContainerStatus, RuntimeFailure
from edgek.client.node import ContainerRef, ExecOptions, LogOptions, Terminal
from edgek.client.transport import Request, Response
from edgek.host import netlink
from edgek.host.worker import InLine, Worker
from edgek.model import errors, objects
from edgek.model.objects import Object

DIAL_TIMEOUT_S = 10.0
DIALS_AT_ONCE = 8  # threads that connect inside of pods
LOG_ROOT = Path("/var/log")
LOG_MOST = 32 << 20  # bytes of one file: it is held in memory here and in the server, which may have half a gigabyte each
TEXT = {"content-type": "text/plain; charset=utf-8"}
JSON = {"content-type": "application/json"}
METRICS = {"content-type": "text/plain; version=0.0.4; charset=utf-8"}


class Door:
    def __init__(self, kubelet: Kubelet, *, dialers: Worker | InLine | None = None) -> None:
        self._kubelet = kubelet
        self._runtime = kubelet.runtime
        self._dialers = dialers or Worker(DIALS_AT_ONCE)
        self._rates = stats.Rates()

    async def logs(self, ref: ContainerRef, options: LogOptions) -> AsyncGenerator[bytes, None]:
        worker = self._worker(ref.namespace, ref.pod, ref.pod_uid)
        if not worker.seen.of_name(ref.container):
            await self._look_again(worker)
        container = self._logged(worker, ref, options)
        path = Path(container.log_path)

        def running() -> bool:
            found = next((c for c in worker.seen.containers if c.id == container.id), None)
            return found is not None and found.state in ("created", "running") and not worker.over

        try:
            async with contextlib.aclosing(logs.read(path, options, running, lambda: worker.looked)) as chunks:
                async for chunk in chunks:
                    yield chunk
        except FileNotFoundError:
            raise errors.NotFound(f"the log of container {ref.container!r} of pod {ref.namespace}/{ref.pod} is not on the node any more") from None

    def _logged(self, worker: PodWorker, ref: ContainerRef, options: LogOptions) -> ContainerStatus:
        history = [c for c in worker.seen.of_name(ref.container) if c.state != "created"]
        if options.previous:
            ended = history if _is_waiting(worker.pod, ref.container) else history[1:]
            if not ended:
                raise errors.BadRequest(f'previous terminated container "{ref.container}" in pod "{ref.pod}" not found')
            return ended[0]
        if not history:
            reason = _waiting_reason(worker.pod, ref.container)
            raise errors.BadRequest(f'container "{ref.container}" in pod "{ref.pod}" is waiting to start: {reason}')
        return history[0]

    async def exec(self, ref: ContainerRef, options: ExecOptions, terminal: Terminal) -> int:
        container = await self._running(ref)
        try:
            return await self._runtime.exec(container.id, options.command, **_channels(options, terminal))
        except RuntimeFailure as exc:
            raise errors.InternalError(f"error executing command in container: {exc}") from None

    async def attach(self, ref: ContainerRef, options: ExecOptions, terminal: Terminal) -> None:
        container = await self._running(ref)
        try:
            await self._runtime.attach(container.id, **_channels(options, terminal))
        except RuntimeFailure as exc:
            raise errors.InternalError(f"error attaching to container: {exc}") from None

    async def dial_pod(self, namespace: str, pod: str, pod_uid: str, port: int) -> trio.abc.HalfCloseableStream:
        worker = self._worker(namespace, pod, pod_uid)
        sandbox = worker.seen.sandbox
        if sandbox is None:
            raise errors.BadRequest(f"pod {namespace}/{pod} is not running")
        fresh = await self._runtime.sandbox(sandbox.id)
        netns = fresh.netns if fresh else ""
        if not netns:
            return await self.dial("127.0.0.1", port)
        try:
            connected = await self._dialers.run(netlink.in_namespace, netns, lambda: _connect(port))
        except OSError as exc:
            raise errors.InternalError(f"failed to connect to localhost:{port} inside namespace of pod {namespace}/{pod}: {exc}") from None
        return trio.SocketStream(trio.socket.from_stdlib_socket(connected))

    async def dial(self, host: str, port: int) -> trio.abc.HalfCloseableStream:
        try:
            with trio.fail_after(DIAL_TIMEOUT_S):
                return await trio.open_tcp_stream(host, port)
        except (OSError, trio.TooSlowError) as exc:
            raise errors.ServiceUnavailable(f"error trying to reach service: dial tcp {host}:{port}: {exc or 'i/o timeout'}") from None

    async def request(self, request: Request) -> Response:
        """The kubelet's pages. Unknown ones are a 404 answer, not an error."""
        path = request.path.rstrip("/") or "/"
        if path == "/healthz" or path.startswith("/healthz/"):
            return Response(200, TEXT, b"ok")
        if path in ("/pods", "/runningpods"):
            return Response(200, JSON, orjson.dumps(self._pod_list(running=path == "/runningpods")))
        if path == "/stats/summary":
            node, parts = await self._usage()
            return Response(200, JSON, orjson.dumps(stats.summary(self._kubelet.settings.node_name, node, parts, await self._volumes())))
        if path in ("/metrics/resource", "/metrics/cadvisor", "/metrics"):
            node, parts = await self._usage()
            volumes = volume_stats.metrics(await self._volumes()) if path == "/metrics" else ""
            return Response(200, METRICS, (stats.resource_metrics(node, parts) + self._own_metrics() + volumes).encode())
        if path == "/configz":
            return Response(200, JSON, orjson.dumps({"kubeletconfig": {"maxPods": self._kubelet.settings.max_pods}}))
        if path == "/logs" or path.startswith("/logs/"):
            return await self._dialers.run(log_file, path.removeprefix("/logs").lstrip("/"))
        return Response(404, TEXT, b"404 page not found\n")

    # What it is made of.

    def _worker(self, namespace: str, pod: str, uid: str) -> PodWorker:
        worker = self._kubelet.find(namespace, pod)
        if worker is None or worker.pod is None or uid not in ("", worker.uid, objects.uid(self._kubelet.known(worker.uid) or {})):
            raise errors.NotFound(f'pod "{pod}" not found', name=pod, kind="pods")
        return worker

    async def _look_again(self, worker: PodWorker) -> None:
        """Its worker may be busy with another container since this one started."""
        try:
            worker.seen = await self._kubelet.observer.look(worker.uid)
        except RuntimeFailure as exc:
            raise errors.ServiceUnavailable(f"the container runtime does not answer: {exc}") from None

    async def _running(self, ref: ContainerRef) -> ContainerStatus:
        worker = self._worker(ref.namespace, ref.pod, ref.pod_uid)
        found = worker.seen.current(ref.container)
        if found is None or found.state != "running":
            await self._look_again(worker)
            found = worker.seen.current(ref.container)
        if found is None:
            raise errors.NotFound(f'container "{ref.container}" not found in pod "{ref.pod}"')
        if found.state != "running":
            raise errors.BadRequest(f'container "{ref.container}" of pod "{ref.pod}" is not running')
        return found

    def _pod_list(self, *, running: bool) -> Object:
        workers = [w for w in self._kubelet.workers.values() if w.pod is not None and (w.seen.alive or not running)]
        return {"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": [worker.pod for worker in workers]}

    async def _usage(self) -> tuple[stats.NodeUse, list[stats.Part]]:
        try:
            found = await self._runtime.usage()
        except RuntimeFailure as exc:
            raise errors.ServiceUnavailable(f"the container runtime does not tell what containers use: {exc}") from None
        by_id = {usage.container_id: usage for usage in found}
        parts = [
            stats.Part(w.pod, c.name, c.started_at, by_id[c.id], self._rates.nano_cores(c.id, by_id[c.id].at, by_id[c.id].cpu_ns))
            for w in self._kubelet.workers.values()
            if w.pod is not None
            for c in w.seen.containers
            if c.id in by_id
        ]
        self._rates.keep([*by_id, ""])
        return stats.node_use(self._kubelet.settings.data_dir, self._rates), parts

    async def _volumes(self) -> list[VolumeUse]:
        """What drivers say of the volumes that they brought; asked all at once, for one of them may be slow."""
        found: list[VolumeUse] = []

        async def ask(pod: Object) -> None:
            found.extend(VolumeUse(pod, name, said) for name, said in (await self._kubelet.volumes.usage(pod)).items())

        async with trio.open_nursery() as nursery:
            for worker in self._kubelet.workers.values():
                if worker.pod is not None and not worker.gone:
                    nursery.start_soon(ask, worker.pod)
        return found

    def _own_metrics(self) -> str:
        workers = self._kubelet.workers.values()
        running = sum(1 for worker in workers for c in worker.seen.containers if c.state == "running")
        pods = sum(1 for worker in workers if worker.seen.sandbox)
        return (
            f"# TYPE kubelet_running_pods gauge\nkubelet_running_pods {pods}\n"
            f'# TYPE kubelet_running_containers gauge\nkubelet_running_containers{{container_state="running"}} {running}\n'
        )


class _Output(trio.abc.SendStream):
    """One channel of a Terminal as a stream for the runtime."""

    def __init__(self, terminal: Terminal, channel: int) -> None:
        self._terminal = terminal
        self._channel = channel

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self._terminal.write(self._channel, bytes(data))

    async def wait_send_all_might_not_block(self) -> None:
        await trio.lowlevel.checkpoint()

    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()


class _Channels(TypedDict):
    """What the runtime joins to a container's process."""

    tty: bool
    stdin: AsyncIterator[bytes] | None
    stdout: trio.abc.SendStream | None
    stderr: trio.abc.SendStream | None
    resizes: AsyncIterator[tuple[int, int]] | None


def _channels(options: ExecOptions, terminal: Terminal) -> _Channels:
    return {
        "tty": options.tty,
        "stdin": terminal.stdin if options.stdin else None,
        "stdout": _Output(terminal, 1) if options.stdout else None,
        "stderr": _Output(terminal, 2) if options.stderr and not options.tty else None,
        "resizes": terminal.resizes if options.tty else None,
    }


def _connect(port: int) -> socket.socket:
    """In a thread that has entered the pod's network."""
    try:
        return socket.create_connection(("127.0.0.1", port), DIAL_TIMEOUT_S)
    except ConnectionRefusedError:
        return socket.create_connection(("::1", port), DIAL_TIMEOUT_S)


def _shown(pod: Object | None, name: str) -> Object:
    status = (pod or {}).get("status") or {}
    for key in ("containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses"):
        for found in status.get(key) or ():
            if found["name"] == name:
                return dict(found)
    return {}


def _is_waiting(pod: Object | None, name: str) -> bool:
    return "waiting" in (_shown(pod, name).get("state") or {})


def _waiting_reason(pod: Object | None, name: str) -> str:
    return str(((_shown(pod, name).get("state") or {}).get("waiting") or {}).get("reason") or "ContainerCreating")


def log_file(relative: str, root: Path = LOG_ROOT) -> Response:
    """A file below the node's log folder, or what is in a folder of it."""
    base = root.resolve()
    path = (base / relative).resolve()
    if not path.is_relative_to(base) or not (path.is_dir() or path.is_file()):  # a pipe would hold up whoever opens it
        return Response(404, TEXT, b"404 page not found\n")
    if path.is_dir():
        names = sorted(f"{found.name}/" if found.is_dir() else found.name for found in path.iterdir())
        lines = [f'<a href="{html.escape(name)}">{html.escape(name)}</a>' for name in names]
        return Response(200, {"content-type": "text/html; charset=utf-8"}, ("<pre>\n" + "\n".join(lines) + "\n</pre>\n").encode())
    with path.open("rb") as file:
        content = file.read(LOG_MOST + 1)  # it may grow meanwhile
    if len(content) > LOG_MOST:
        return Response(413, TEXT, f"{path} has more than the {LOG_MOST} bytes that are shown of a file here: read it on the node\n".encode())
    return Response(200, TEXT, content)
