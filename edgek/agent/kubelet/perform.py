"""Carry out what ``plan.py`` decided. No decisions live here; what fails is said in the kubelet's words and travels."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Collection
from pathlib import Path

import attrs
import trio

from edgek.agent.kubelet import labels, naming, resources, wanted
from edgek.agent.kubelet.actions import (
    Action,
    CreateSandbox,
    Forget,
    KillContainers,
    PrepareVolumes,
    RemoveContainer,
    RemoveSandbox,
    ResizeContainer,
    StartContainer,
    StopSandbox,
    UnmountVolumes,
)
from edgek.agent.kubelet.cgroups import Cgroups
from edgek.agent.kubelet.ending import Ender
from edgek.agent.kubelet.environment import ConfigError, Surroundings
from edgek.agent.kubelet.lifecycle import SANDBOX, VOLUMES, Seen, members
from edgek.agent.kubelet.references import References, Unreachable
from edgek.agent.kubelet.settings import KubeletSettings
from edgek.agent.kubelet.starting import ActionFailed, Starter
from edgek.agent.kubelet.volumes.pod_volumes import MountFailed, PodVolumes
from edgek.agent.runtime.runtime import ContainerStatus, Runtime, RuntimeFailure, RuntimeGone, Sandbox
from edgek.client.events import Recorder
from edgek.host.worker import InLine, Worker
from edgek.model import kinds, objects
from edgek.model.objects import Object

SANDBOXES_AT_ONCE = 8  # more of them only wait for each other on the machines we are made for
SANDBOX_MOST_S = 60.0  # the next look finds what became of one that takes longer


@attrs.frozen
class Performer:
    settings: KubeletSettings
    runtime: Runtime
    starter: Starter
    ender: Ender
    volumes: PodVolumes
    references: References
    recorder: Recorder
    cgroups: Cgroups
    surroundings: Callable[[Object, Seen], Surroundings]
    memory_capacity_bytes: int
    files: Worker | InLine
    _sandboxes: trio.CapacityLimiter = attrs.field(factory=lambda: trio.CapacityLimiter(SANDBOXES_AT_ONCE))

    async def perform(self, action: Action, uid: str, pod: Object | None, seen: Seen) -> None:
        """Raises ActionFailed, RuntimeFailure, RuntimeGone, OSError."""
        match action:
            case KillContainers():
                await self.ender.end(action, pod, seen)
            case StopSandbox():
                await self.runtime.stop_sandbox(action.id)
            case RemoveSandbox():
                await self.runtime.remove_sandbox(action.id)
            case RemoveContainer():
                await self._remove_container(action, seen)
            case UnmountVolumes():
                await self._unmount(uid, pod)
                self._remove_cgroups(uid)
            case Forget():
                await self.volumes.take_down(uid)
                await self.files.run(self._forget, uid, seen)
            case _ if pod is not None:
                await self._build(action, pod, seen)

    async def _build(self, action: Action, pod: Object, seen: Seen) -> None:
        match action:
            case PrepareVolumes():
                await self.prepare_volumes(pod, seen)
            case CreateSandbox():
                await self._create_sandbox(action, pod)
            case StartContainer():
                await self.starter.start(action, pod, seen)
            case ResizeContainer():
                await self._resize(action, pod)

    # Volumes and sandbox.

    async def prepare_volumes(self, pod: Object, seen: Seen) -> float | None:
        """Seconds after which to do it again, if ever. Raises ActionFailed."""
        try:
            return await self.volumes.build(pod, self.surroundings(pod, seen))
        except MountFailed as exc:
            self.recorder.warning(kinds.POD, pod, "FailedMount", str(exc))
            raise ActionFailed(VOLUMES, "FailedMount", str(exc)) from None

    async def _create_sandbox(self, action: CreateSandbox, pod: Object) -> None:
        if action.changed:
            self.recorder.normal(kinds.POD, pod, "SandboxChanged", "Pod sandbox changed, it will be killed and re-created.")
        try:
            handler = await self._runtime_handler(pod)
            box = wanted.sandbox(self.settings, pod, action.attempt, naming.for_pod(self.settings, pod), handler)
            self._make_room(box, pod)
            async with self._sandboxes:
                with trio.move_on_after(SANDBOX_MOST_S, shield=True):  # not broken off in the middle, where that would leave half of one
                    await self.runtime.run_sandbox(box)
        except RuntimeGone:
            raise
        except (RuntimeFailure, OSError, ConfigError, Unreachable) as exc:
            message = f"Failed to create pod sandbox: {exc}"
            self.recorder.warning(kinds.POD, pod, "FailedCreatePodSandBox", message)
            raise ActionFailed(SANDBOX, "FailedCreatePodSandBox", message) from None

    def _make_room(self, box: Sandbox, pod: Object) -> None:
        Path(box.log_directory).mkdir(parents=True, exist_ok=True)
        self.cgroups.ensure(box.cgroup_parent, resources.of_pod(pod))

    async def _runtime_handler(self, pod: Object) -> str:
        name = (pod.get("spec") or {}).get("runtimeClassName")
        if not name:
            return ""
        found = await self.references.get(kinds.RUNTIME_CLASS, "", name, objects.uid(pod))
        if found is None:
            raise ConfigError(f'runtimeclass.node.k8s.io "{name}" not found')
        return str(found.get("handler") or "")

    async def _resize(self, action: ResizeContainer, pod: Object) -> None:
        """The pod's cgroup first gives way, then the container's changes, then the pod's fits closely again."""
        spec = next(m.spec for m in members(pod) if m.name == action.name)
        parent = wanted.cgroup_parent(self.settings, pod)
        try:
            self.cgroups.ensure(parent, resources.PodShare(resources.of_pod(pod).cpu_shares, 0, 0))
            await self.runtime.update_resources(action.id, resources.of_container(pod, spec, self.memory_capacity_bytes))
            self.cgroups.ensure(parent, resources.of_pod(pod))
        except RuntimeGone:
            raise
        except (RuntimeFailure, OSError) as exc:
            raise ActionFailed(action.name, "Error", f"failed to resize container: {exc}") from None
        self.recorder.normal(kinds.POD, pod, "ResizeCompleted", f"Pod resize completed: {action.name}")

    # Ending.

    async def _remove_container(self, action: RemoveContainer, seen: Seen) -> None:
        await self.runtime.remove_container(action.id)
        for container in seen.containers:
            if container.id == action.id:
                self._remove_files(container)

    def _remove_files(self, container: ContainerStatus) -> None:
        if container.log_path:
            log_file = Path(container.log_path)
            for file in log_file.parent.glob(f"{log_file.name}*"):
                file.unlink(missing_ok=True)
        if container.annotations.get(labels.MESSAGE_FILE):
            Path(container.annotations[labels.MESSAGE_FILE]).unlink(missing_ok=True)
        for link in self.settings.container_logs_dir.glob(f"*-{container.id}.log"):
            link.unlink(missing_ok=True)

    def remove_stray_cgroups(self, known: Collection[str]) -> None:
        """Of pods that went while we were away."""
        for uid in self.cgroups.pods("/".join(part for part in (self.settings.cgroup_root.strip("/"), "kubepods") if part)) - set(known):
            self._remove_cgroups(uid)

    def _remove_cgroups(self, uid: str) -> None:
        root = self.settings.cgroup_root.strip("/")
        for folder in wanted.QOS_FOLDER.values():
            self.cgroups.remove("/".join(part for part in (root, "kubepods", folder, f"pod{uid}") if part))

    async def _unmount(self, uid: str, pod: Object | None) -> None:
        try:
            await self.volumes.unmount(uid)
        except OSError as exc:
            if pod is not None:
                self.recorder.warning(kinds.POD, pod, "FailedUnMount", str(exc))
            raise

    def _forget(self, uid: str, seen: Seen) -> None:
        self._remove_cgroups(uid)
        for folder in self.settings.pod_logs_dir.glob(f"*_*_{uid}"):
            shutil.rmtree(folder)
        for container in seen.containers:
            for link in self.settings.container_logs_dir.glob(f"*-{container.id}.log"):
                link.unlink(missing_ok=True)
