"""Calls of a driver that are killed before their n-th step: the child of a test, in a mount namespace of its own.

Reads one JSON request a line, ``{"call": ..., "kill_before": n, ...}``, and answers ``killed``, ``done`` or the error's class. Each call runs in a
process forked for it; a step is whatever changes the disk or the mounts.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from edgek.csi.driver import Capability, Driver, NewVolume, Size, Source, Use
from edgek.csi.export import Export
from edgek.csi.hostpath import HostPath
from edgek.csi.messages import SINGLE_NODE_WRITER
from edgek.csi.mounts import Direct
from edgek.csi.nfs import Nfs
from tests.fakes.reach import Bound, Folder

CHANGES = {"os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.chmod", "shutil.rmtree", "subprocess.Popen"}


class Countdown:
    def __init__(self, left: int) -> None:
        self.left = left

    def step(self) -> None:
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        self.left -= 1

    def audit(self, event: str, args: tuple[Any, ...]) -> None:
        if event in CHANGES or (event == "open" and isinstance(args[2], int) and args[2] & (os.O_WRONLY | os.O_RDWR)):
            self.step()


class Counted(Direct):
    countdown: Countdown

    def bind(self, source: Path, target: Path, *, read_only: bool, flags: int) -> None:
        self.countdown.step()
        super().bind(source, target, read_only=False, flags=0)
        if flags:
            self.countdown.step()  # between the two system calls of a restricted bind
            super().restrict(target, flags)

    def restrict(self, target: Path, flags: int) -> None:
        self.countdown.step()
        super().restrict(target, flags)

    def unmount(self, target: Path) -> None:
        self.countdown.step()
        super().unmount(target)


class CountedBound(Counted, Bound):
    """Mounts of a server's, counted as they are bound."""


def hostpath(base: Path, countdown: Countdown) -> Driver:
    mounts = Counted()
    mounts.countdown = countdown
    return HostPath(base / "root", "n1", mounts)


def nfs(base: Path, countdown: Countdown) -> Driver:
    mounts = CountedBound(base / "root")
    mounts.countdown = countdown
    return Nfs(Export("files", "/share"), Folder(base / "root"), mounts)


DRIVERS: dict[str, tuple[Callable[[Path, Countdown], Driver], str]] = {"hostpath": (hostpath, "v"), "nfs": (nfs, "files#/share##v")}


def perform(driver: Driver, id_: str, request: dict[str, Any], base: Path) -> None:
    capability = Capability(SINGLE_NODE_WRITER)
    staging, target = base / "staging", base / "target"
    match request["call"]:
        case "create":
            driver.create(NewVolume("v", Size(1 << 20), [capability], {}))
        case "clone":
            driver.create(NewVolume("clone", Size(1 << 20), [capability], {}, Source(volume_id=id_)))
        case "snapshot":
            driver.snapshot("s", id_)
        case "stage":
            driver.stage(Use(id_, staging, capability))
        case "publish":
            driver.publish(Use(id_, target, capability, read_only=request["read_only"], staging=staging))
        case "unpublish":
            driver.unpublish(id_, target)
        case "unstage":
            driver.unstage(id_, staging)
        case "delete":
            driver.delete(id_)
        case "write":
            (target / "precious").write_text("bytes")
            os.sync()
        case other:
            raise ValueError(other)


def attempt(name: str, request: dict[str, Any], base: Path) -> str:
    child = os.fork()
    if child == 0:
        code = 0
        try:
            countdown = Countdown(-1)
            make, id_ = DRIVERS[name]
            driver = make(base, countdown)
            sys.addaudithook(countdown.audit)
            countdown.left = request["kill_before"]
            perform(driver, id_, request, base)
        except Exception as exc:
            print(f"{type(exc).__name__}: {exc}", file=sys.stderr, flush=True)
            code = 1
        os._exit(code)
    _, status = os.waitpid(child, 0)
    return "killed" if os.WIFSIGNALED(status) else ("refused" if os.WEXITSTATUS(status) else "done")


def sight(base: Path) -> dict[str, Any]:
    """What is mounted, and what the volume holds."""
    table = {mount.point: mount for mount in Direct().table()}
    points = {name: table.get(str(base / name)) for name in ("staging", "target")}
    folder = base / "root" / "v"
    return {
        "staged": points["staging"] is not None,
        "published": points["target"] is not None,
        "read_only": bool(points["target"] and points["target"].read_only),
        "point": (base / "target").exists(),
        "folder": folder.exists(),
        "content": (folder / "precious").read_text() if (folder / "precious").exists() else "",
    }


def main() -> None:
    name, base = sys.argv[1], Path(sys.argv[2])
    for line in sys.stdin:
        request = json.loads(line)
        answer = sight(base) if request["call"] == "sight" else attempt(name, request, base)
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
