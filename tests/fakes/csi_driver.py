"""A storage driver in the shape of third-party ones, for a process of its own: it registers with a kubelet and serves CSI, all three services.

It is picky, as real ones are: what comes in the wrong order is refused and stands in its book as a violation. Every call is written down, one JSON
object a line in ``<root>/calls``. A file ``<root>/refuse-NodePublishVolume`` that holds a gRPC code makes it refuse that call; ``hang-...`` makes it
never answer. Volumes are folders ``<root>/volumes/<id>``: as root they are mounted, else a target is an empty folder.

    python -m tests.fakes.csi_driver --root DIR --kubelet-dir DIR [--name NAME] [--node-id ID] [--topology KEY=VALUE] [--most-volumes N] [--without WORD] [--alone]
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import shutil
import signal
import stat
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import attrs
import trio

from edgek.agent.kubelet.csi.plugins import CSI_PLUGIN, GET_INFO, NOTIFY
from edgek.csi import messages, mounts
from edgek.host import rpc_serve
from edgek.host.message import Values
from edgek.host.rpc import Method, RpcError

NODE_ABILITIES = {
    "stage": messages.NODE_CAN_STAGE,
    "stats": messages.NODE_CAN_STATS,
    "expand": messages.NODE_CAN_EXPAND,
    "multi-writer": messages.NODE_CAN_SINGLE_NODE_MULTI_WRITER,
    "mount-group": messages.NODE_CAN_MOUNT_GROUP,
}
CONTROLLER_ABILITIES = (messages.CAN_CREATE_DELETE_VOLUME, messages.CAN_ATTACH, messages.CAN_EXPAND, messages.CAN_CREATE_DELETE_SNAPSHOT)
ORDINARY = frozenset({"stage", "stats", "expand", "multi-writer"})
DEVICE = os.makedev(7, 0)  # the first loop device stands for every block volume


@attrs.define
class State:
    """What the outside world holds for the driver: kept in a file, as the machine would keep mounts when the driver is killed."""

    file: Path
    attached: dict[str, str] = attrs.field(factory=dict)  # volume -> node
    staged: dict[str, str] = attrs.field(factory=dict)  # staging path -> volume
    published: dict[str, str] = attrs.field(factory=dict)  # target -> volume
    sizes: dict[str, int] = attrs.field(factory=dict)

    @classmethod
    def read(cls, file: Path) -> State:
        return cls(file, **json.loads(file.read_text())) if file.exists() else cls(file)

    def write(self) -> None:
        self.file.write_text(json.dumps({"attached": self.attached, "staged": self.staged, "published": self.published, "sizes": self.sizes}))


class Driver:
    def __init__(
        self,
        root: Path,
        name: str = "third.example.com",
        *,
        node_id: str = "node-id-1",
        topology: Mapping[str, str] | None = None,
        most_volumes: int = 0,
        abilities: frozenset[str] = ORDINARY,
        real: bool = False,
    ) -> None:
        """``real``: mount, as root."""
        self.root, self.name = root, name
        self.node_id, self.topology, self.most_volumes, self.abilities = node_id, dict(topology or {}), most_volumes, abilities
        self._mounts = mounts.Direct() if real else None
        (root / "volumes").mkdir(parents=True, exist_ok=True)
        self.state = State.read(root / "state")
        self.state.write()
        self.calls_file = root / "calls"
        self.registered = trio.Event()
        self.refused: list[str] = []  # what a kubelet told of a registration that failed
        self.answers: Mapping[Method, rpc_serve.Answer] = {
            method: functools.partial(self._answer, method, do) for method, do in self._table().items()
        }

    def _table(self) -> Mapping[Method, Callable[[Values], Values]]:
        return {
            messages.GET_PLUGIN_INFO: lambda _: {"name": self.name, "vendor_version": "1"},
            messages.GET_PLUGIN_CAPABILITIES: lambda _: {"capabilities": [{"service": {"type": messages.CONTROLLER_SERVICE}}]},
            messages.PROBE: lambda _: {"ready": {"value": True}},
            messages.CONTROLLER_GET_CAPABILITIES: lambda _: {"capabilities": [{"rpc": {"type": each}} for each in CONTROLLER_ABILITIES]},
            messages.CREATE_VOLUME: self._create,
            messages.DELETE_VOLUME: self._delete,
            messages.CONTROLLER_PUBLISH_VOLUME: self._attach,
            messages.CONTROLLER_UNPUBLISH_VOLUME: self._detach,
            messages.CONTROLLER_EXPAND_VOLUME: self._grow,
            messages.CREATE_SNAPSHOT: self._snapshot,
            messages.DELETE_SNAPSHOT: self._delete_snapshot,
            messages.NODE_GET_INFO: self._node_info,
            messages.NODE_GET_CAPABILITIES: lambda _: {"capabilities": [{"rpc": {"type": NODE_ABILITIES[each]}} for each in sorted(self.abilities)]},
            messages.NODE_STAGE_VOLUME: self._stage,
            messages.NODE_UNSTAGE_VOLUME: self._unstage,
            messages.NODE_PUBLISH_VOLUME: self._publish,
            messages.NODE_UNPUBLISH_VOLUME: self._unpublish,
            messages.NODE_EXPAND_VOLUME: self._expand,
            messages.NODE_GET_VOLUME_STATS: self._stats,
        }

    async def _answer(self, method: Method, do: Callable[[Values], Values], request: Values) -> Values:
        word = method.path.rpartition("/")[2]
        with self.calls_file.open("a") as out:
            out.write(json.dumps({"call": word, **request}, default=repr) + "\n")
        if (self.root / f"hang-{word}").exists():
            await trio.sleep_forever()
        if (self.root / f"refuse-{word}").exists():
            raise RpcError((self.root / f"refuse-{word}").read_text().strip(), f"{word} is refused, as the test wants it")
        answer = do(request)
        self.state.write()
        return answer

    def _wrong(self, text: str) -> RpcError:
        """The order of calls was not as the specification has it."""
        with self.calls_file.open("a") as out:
            out.write(json.dumps({"call": "VIOLATION", "text": text}) + "\n")
        return RpcError("FAILED_PRECONDITION", text)

    # The controller.

    def _create(self, request: Values) -> Values:
        size = (request["capacity_range"] or {}).get("required_bytes") or 1 << 20
        self.state.sizes[request["name"]] = size
        (self.root / "volumes" / request["name"]).mkdir(exist_ok=True)
        return {"volume": {"volume_id": request["name"], "capacity_bytes": size, "volume_context": {"made-by": self.name}}}

    def _delete(self, request: Values) -> Values:
        if request["volume_id"] in self.state.attached or request["volume_id"] in self.state.staged.values():
            raise self._wrong("deleted while it is attached or staged")
        shutil.rmtree(self.root / "volumes" / request["volume_id"], ignore_errors=True)
        return {}

    def _attach(self, request: Values) -> Values:
        self.state.attached[request["volume_id"]] = request["node_id"]
        return {"publish_context": {"device": f"/dev/{request['volume_id']}"}}

    def _detach(self, request: Values) -> Values:
        if request["volume_id"] in self.state.staged.values():
            raise self._wrong("detached while it is staged")
        self.state.attached.pop(request["volume_id"], None)
        return {}

    def _grow(self, request: Values) -> Values:
        self.state.sizes[request["volume_id"]] = request["capacity_range"]["required_bytes"]
        return {"capacity_bytes": self.state.sizes[request["volume_id"]], "node_expansion_required": True}

    def _snapshot(self, request: Values) -> Values:
        return {"snapshot": {"snapshot_id": f"snap-{request['name']}", "source_volume_id": request["source_volume_id"], "ready_to_use": True}}

    def _delete_snapshot(self, request: Values) -> Values:
        return {}

    # The node.

    def _node_info(self, request: Values) -> Values:
        place = {"segments": self.topology} if self.topology else None
        return {"node_id": self.node_id, "max_volumes_per_node": self.most_volumes, "accessible_topology": place}

    def _stage(self, request: Values) -> Values:
        staging, id_ = request["staging_target_path"], request["volume_id"]
        if not os.path.isdir(staging):
            raise self._wrong(f"the staging folder {staging} was not made")
        self._bring(self.root / "volumes" / id_, Path(staging), request)
        self.state.staged[staging] = id_
        return {}

    def _unstage(self, request: Values) -> Values:
        staging, id_ = request["staging_target_path"], request["volume_id"]
        if id_ in self.state.published.values() and staging in self.state.staged:
            raise self._wrong("unstaged while it is published")
        self._take(Path(staging), keep=True)
        self.state.staged.pop(staging, None)
        return {}

    def _publish(self, request: Values) -> Values:
        staging, target, id_ = request["staging_target_path"], request["target_path"], request["volume_id"]
        inline = request["volume_context"].get("csi.storage.k8s.io/ephemeral") == "true"
        if "stage" in self.abilities and not inline and self.state.staged.get(staging) != id_:
            raise self._wrong(f"published before it is staged at {staging!r}")
        if not os.path.isdir(os.path.dirname(target)):
            raise self._wrong(f"the folder above {target} was not made")
        (self.root / "volumes" / id_).mkdir(exist_ok=True)
        if request["volume_capability"]["block"] is not None:
            if self._mounts and not os.path.lexists(target):
                os.mknod(target, 0o660 | stat.S_IFBLK, DEVICE)
            elif not self._mounts:
                Path(target).touch()
        else:
            self._bring(self.root / "volumes" / id_, Path(target), request)
        self.state.published[target] = id_
        return {}

    def _unpublish(self, request: Values) -> Values:
        target = Path(request["target_path"])
        if target.is_dir():
            self._take(target, keep=False)
        else:
            target.unlink(missing_ok=True)
        self.state.published.pop(str(target), None)
        return {}

    def _expand(self, request: Values) -> Values:
        if request["volume_path"] not in self.state.published and request["volume_path"] not in self.state.staged:
            raise self._wrong("expanded where it is not")
        return {"capacity_bytes": self.state.sizes.get(request["volume_id"], 0)}

    def _stats(self, request: Values) -> Values:
        return {
            "usage": [
                {"unit": messages.BYTES, "total": 1000, "used": 400, "available": 600},
                {"unit": messages.INODES, "total": 100, "used": 3, "available": 97},
            ]
        }

    def _bring(self, source: Path, target: Path, request: Values) -> None:
        source.mkdir(exist_ok=True)
        if self._mounts:
            mounts.appear(self._mounts, source, target, lambda there: True, read_only=request.get("readonly", False))
        else:
            target.mkdir(exist_ok=True)

    def _take(self, target: Path, *, keep: bool) -> None:
        if self._mounts:
            self._mounts.unmount(target)
        if not keep and target.exists():
            target.rmdir()

    # Registering, as node-driver-registrar does it.

    async def serve(self, kubelet_dir: Path, alone: bool = False, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        endpoint = kubelet_dir / "plugins" / self.name / "csi.sock"
        async with trio.open_nursery() as nursery:
            await nursery.start(rpc_serve.serve, endpoint, self.answers)
            if alone:
                task_status.started()
                return
            registrar = {GET_INFO: functools.partial(self._about, endpoint), NOTIFY: self._told}
            await nursery.start(rpc_serve.serve, kubelet_dir / "plugins_registry" / f"{self.name}-reg.sock", registrar)
            task_status.started()

    async def _about(self, endpoint: Path, request: Values) -> Values:
        return {"type": CSI_PLUGIN, "name": self.name, "endpoint": str(endpoint), "supported_versions": ["1.0.0"]}

    async def _told(self, request: Values) -> Values:
        if request["plugin_registered"]:
            self.registered.set()
        else:
            self.refused.append(request["error"])
        return {}


def calls(root: Path, *, but: tuple[str, ...] = ("NodeGetInfo", "NodeGetCapabilities", "NodeGetVolumeStats")) -> list[dict[str, Any]]:
    """What the driver in that folder was asked, in order."""
    file = root / "calls"
    found = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
    return [each for each in found if each["call"] not in but]


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--kubelet-dir", type=Path, required=True)
    parser.add_argument("--name", default="third.example.com")
    parser.add_argument("--node-id", default="node-id-1")
    parser.add_argument("--topology", action="append", default=[])
    parser.add_argument("--most-volumes", type=int, default=0)
    parser.add_argument("--without", action="append", default=[], choices=sorted(NODE_ABILITIES))
    parser.add_argument("--mount-group", action="store_true")
    parser.add_argument("--alone", action="store_true", help="do not register, and mount nothing though root could")
    given = parser.parse_args()
    abilities = (ORDINARY | ({"mount-group"} if given.mount_group else frozenset())) - set(given.without)
    driver = Driver(
        given.root,
        given.name,
        node_id=given.node_id,
        topology=dict(each.split("=", 1) for each in given.topology),
        most_volumes=given.most_volumes,
        abilities=abilities,
        real=os.geteuid() == 0 and not given.alone,
    )
    async with trio.open_nursery() as nursery:
        await nursery.start(driver.serve, given.kubelet_dir, given.alone)
        print("ready", flush=True)
        with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
            async for _ in signals:
                nursery.cancel_scope.cancel()


if __name__ == "__main__":
    trio.run(main)
