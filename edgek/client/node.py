"""What the API server may ask of a node: logs, exec, attach, port-forward, and the kubelet's own pages.

``NodeDoor`` is implemented by ``agent/kubelet/serve.py``. In the server's own process it is handed over as an object; from an agent elsewhere it
comes as streams of the link that the agent dialled. Either way the API server terminates WebSocket and SPDY and speaks only this.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from typing import Protocol

import attrs
import trio

from edgek.client.transport import Request, Response


@attrs.frozen
class ContainerRef:
    """A container of a pod on this node. ``pod_uid`` guards against a namesake that came later."""

    namespace: str
    pod: str
    pod_uid: str
    container: str


@attrs.frozen
class LogOptions:
    """``kubectl logs`` options. Times are seconds since the epoch; ``None`` means no limit."""

    follow: bool = False
    previous: bool = False
    timestamps: bool = False
    tail_lines: int | None = None
    limit_bytes: int | None = None
    since: float | None = None
    stream: str = "All"  # All, Stdout, Stderr


@attrs.frozen
class ExecOptions:
    """``command`` is empty for attach. With ``tty`` there is no separate stderr."""

    command: tuple[str, ...] = ()
    stdin: bool = False
    stdout: bool = True
    stderr: bool = True
    tty: bool = False


@attrs.frozen
class Terminal:
    """The caller's end of an exec or attach.

    ``stdin`` yields bytes and ends at half-close; ``write`` gets ``(1, bytes)`` for stdout and ``(2, bytes)`` for stderr and waits while the
    caller is slow; ``resizes`` yields ``(columns, rows)``.
    """

    stdin: AsyncIterator[bytes]
    write: Callable[[int, bytes], Awaitable[None]]
    resizes: AsyncIterator[tuple[int, int]]


class NodeDoor(Protocol):
    """Errors are ``model.errors`` classes: NotFound for an unknown container, BadRequest for one that is not running."""

    def logs(self, ref: ContainerRef, options: LogOptions) -> AsyncGenerator[bytes, None]:
        """The log's bytes as ``kubectl logs`` prints them. Who stops reading early closes it."""
        ...

    async def exec(self, ref: ContainerRef, options: ExecOptions, terminal: Terminal) -> int:
        """Run a command in a container; its exit code."""
        ...

    async def attach(self, ref: ContainerRef, options: ExecOptions, terminal: Terminal) -> None: ...

    async def dial_pod(self, namespace: str, pod: str, pod_uid: str, port: int) -> trio.abc.HalfCloseableStream:
        """A TCP connection to ``127.0.0.1:port`` inside the pod's network namespace (port-forward)."""
        ...

    async def dial(self, host: str, port: int) -> trio.abc.HalfCloseableStream:
        """A TCP connection from the node to an address of the pod network (pods/proxy, services/proxy)."""
        ...

    async def request(self, request: Request) -> Response:
        """The kubelet's own pages: /healthz, /pods, /metrics, /stats/summary, /logs/."""
        ...


class NodeDirectory(Protocol):
    """Who answers for a node by name."""

    def door(self, node_name: str) -> NodeDoor:
        """Raises ``model.errors.ServiceUnavailable`` when the node cannot be reached now."""
        ...
