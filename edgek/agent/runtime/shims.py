"""End shims that hold no pod any more.

A containerd that is killed while it makes a pod leaves behind the shim it had just started. Its successor adopts the shim, but its CRI part knows no
sandbox for it, so nobody would ever ask for its end. Killed, it is containerd that takes away what the shim held: processes, mounts, folders.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Set
from pathlib import Path

import attrs

from edgek.agent.runtime.runtime import Runtime
from edgek.host import log

BUNDLES = Path("io.containerd.runtime.v2.task/k8s.io")  # below containerd's state: one folder for each task


@attrs.frozen
class Shim:
    """``id`` is that of the sandbox it was started for; ``began`` counts clock ticks since the boot."""

    pid: int
    id: str
    began: int


async def end_strays(runtime: Runtime, socket: Path, containerd_began: int) -> None:
    """Those of an earlier containerd whose pods nobody knows. What this containerd starts now is left alone: it becomes known only once it runs."""
    former = [shim for shim in running(socket) if shim.began < containerd_began]
    if former:
        known = {sandbox.id for sandbox in await runtime.sandboxes()} | {container.sandbox_id for container in await runtime.containers()}
        end(strays(former, known))


def end_of(socket: Path, sandbox_id: str) -> None:
    """Its sandbox has been removed."""
    end([shim for shim in running(socket) if shim.id == sandbox_id])


def strays(shims: list[Shim], known: Set[str]) -> list[Shim]:
    return [shim for shim in shims if shim.id not in known]


def end(shims: list[Shim]) -> None:
    for shim in shims:
        log.warning("a shim without a pod is ended", sandbox=shim.id[:13], pid=shim.pid)
        try:
            socket = _listens_on(Path(f"/proc/{shim.pid}"))
            os.kill(shim.pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
        if socket is not None:
            socket.unlink(missing_ok=True)  # the one thing that containerd forgets


def _listens_on(folder: Path) -> Path | None:
    """A shim works in its bundle, where this is written."""
    try:
        return Path((folder / "cwd" / "address").read_text().removeprefix("unix://"))
    except FileNotFoundError:
        return None


def running(socket: Path) -> list[Shim]:
    """The shims that report to the containerd on this socket."""
    return list(_found(Path("/proc"), str(socket)))


def _found(proc: Path, socket: str) -> Iterator[Shim]:
    for folder in proc.glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_text(errors="replace").split("\0")
            if "containerd-shim" in words[0] and _after("-address", words) == socket and _after("-namespace", words) == "k8s.io":
                yield Shim(int(folder.name), _after("-id", words), start_ticks(folder))
        except (FileNotFoundError, ProcessLookupError):
            continue  # it ended meanwhile


def _after(flag: str, words: list[str]) -> str:
    return words[words.index(flag) + 1] if flag in words[:-1] else ""


def start_ticks(folder: Path) -> int:
    """When the process of this folder of /proc began. Raises FileNotFoundError, ProcessLookupError when it is gone."""
    return int((folder / "stat").read_text().rpartition(")")[2].split()[19])
