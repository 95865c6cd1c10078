"""Carry out what ``plan.py`` decided. No decisions live here; what fails is said in the kubelet's words and travels."""

from __future__ import annotations

import secrets
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
    Kill,
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
from edgek.agent.kubelet.environment import ConfigError, Surroundings, environment, references
from edgek.agent.kubelet.handlers import Target, ask
from edgek.agent.kubelet.images import Images, PullFailed
from edgek.agent.kubelet.lifecycle import SANDBOX, VOLUMES, Member, Seen, is_host_network, members
from edgek.agent.kubelet.references import References, Unreachable
from edgek.agent.kubelet.settings import KubeletSettings
from edgek.agent.kubelet.volumes.pod_volumes import MountFailed, PodVolumes
from edgek.agent.runtime.runtime import Container, ContainerStatus, Image, Mount, Runtime, RuntimeFailure, RuntimeGone, Sandbox
from edgek.client.events import Recorder
from edgek.host import log, wallclock
from edgek.host.worker import InLine, Worker
from edgek.model import kinds, objects
from edgek.model.objects import Object

SANDBOXES_AT_ONCE = 8  # more of them only wait for each other on the machines we are made for
SHORTEST_GRACE_S = 2.0  # every container gets at least this, as upstream
RETRY_S = 10.0  # after a failure that is not told apart further; a changed ConfigMap or Secret wakes its pods sooner


class ActionFailed(Exception):
    """``name`` is a container's, or lifecycle.SANDBOX or VOLUMES. ``retry_at`` None: by the caller's own back-off."""

    def __init__(self, name: str, reason: str, message: str, retry_at: float | None = None) -> None:
        super().__init__(f"{reason}: {message}")
        self.name = name
        self.reason = reason
        self.message = message
        self.retry_at = retry_at


@attrs.frozen
class Performer:
    """``surroundings`` tells what containers may ask of their node."""

    settings: KubeletSettings
    runtime: Runtime
    images: Images
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
                await self._kill_containers(action, pod, seen)
            case StopSandbox():
                await self.runtime.stop_sandbox(action.id)
            case RemoveSandbox():
                await self.runtime.remove_sandbox(action.id)
            case RemoveContainer():
                await self._remove_container(action, seen)
            case UnmountVolumes():
                await self.files.run(self.volumes.unmount, uid)
                self._remove_cgroups(uid)
            case Forget():
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
                await self._start_container(action, pod, seen)
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
        host = naming.parse_resolv_conf(_read(self.settings.resolv_conf))
        dns = naming.resolver(pod, host, self.settings.cluster_dns, self.settings.cluster_domain)
        try:
            handler = await self._runtime_handler(pod)
            box = wanted.sandbox(self.settings, pod, action.attempt, dns, handler)
            self._make_room(box, pod)
            async with self._sandboxes:
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

    # Starting a container.

    async def _start_container(self, action: StartContainer, pod: Object, seen: Seen) -> None:
        member = next(m for m in members(pod) if m.name == action.name)
        sandbox = seen.sandbox
        if sandbox is None:
            return  # it went away meanwhile; the next look sees that
        try:
            image = await self.images.ensure(pod, member.spec)
        except PullFailed as exc:
            raise ActionFailed(member.name, exc.reason, str(exc), exc.retry_at) from None
        path = _field_path(member)
        try:
            value = await self._container(action, pod, member, seen, image)
        except (ConfigError, Unreachable, OSError) as exc:
            self.recorder.warning(kinds.POD, pod, "Failed", f"Error: {exc}", field_path=path)
            raise ActionFailed(member.name, "CreateContainerConfigError", str(exc), wallclock.now() + RETRY_S) from None
        try:
            identity = await self.runtime.create_container(sandbox.id, value, self._sandbox_again(pod, sandbox.attempt))
            self.recorder.normal(kinds.POD, pod, "Created", "Container created", field_path=path)
        except RuntimeGone:
            raise
        except RuntimeFailure as exc:
            self.recorder.warning(kinds.POD, pod, "Failed", f"Error: {exc}", field_path=path)
            raise ActionFailed(member.name, exc.reason or "CreateContainerError", str(exc), wallclock.now() + RETRY_S) from None
        try:
            await self.runtime.start_container(identity)
        except RuntimeGone:
            raise
        except RuntimeFailure as exc:
            self.recorder.warning(kinds.POD, pod, "Failed", f"Error: {exc}", field_path=path)
            raise ActionFailed(member.name, exc.reason or "RunContainerError", str(exc), wallclock.now()) from None
        self.recorder.normal(kinds.POD, pod, "Started", "Container started", field_path=path)
        self._link_log(pod, member.name, identity, value)
        await self._post_start(pod, member, identity, sandbox.ips[0] if sandbox.ips else self._host_ip())

    async def _container(self, action: StartContainer, pod: Object, member: Member, seen: Seen, image: Image) -> Container:
        uid, namespace = objects.uid(pod), objects.namespace(pod)
        found = {(kind, name): await self.references.get(kind, namespace, name, uid) for kind, name in references(member.spec)}
        env = environment(pod, member.spec, found, self.surroundings(pod, seen))
        self.volumes.release_parts(pod, member.name)
        mounts = list(self.volumes.mounts(pod, member.spec, env))
        mounts += self._hosts_mount(pod, member.spec, seen)
        message_file = self._message_file(pod, member.name)
        mounts.append(Mount(member.spec.get("terminationMessagePath") or "/dev/termination-log", str(message_file)))
        target = seen.current(str(member.spec.get("targetContainerName") or ""))
        given = wanted.Ingredients(
            image=image,
            env=env,
            mounts=tuple(mounts),
            devices=self.volumes.devices(pod, member.spec),
            message_file=str(message_file),
            memory_capacity_bytes=self.memory_capacity_bytes,
            target_id=target.id if target else "",
        )
        (wanted.log_directory(self.settings, pod) / member.name).mkdir(parents=True, exist_ok=True)
        return wanted.container(self.settings, pod, member, action, given)

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

    def _sandbox_again(self, pod: Object, attempt: int) -> Sandbox:
        host = naming.parse_resolv_conf(_read(self.settings.resolv_conf))
        return wanted.sandbox(self.settings, pod, attempt, naming.resolver(pod, host, self.settings.cluster_dns, self.settings.cluster_domain))

    def _hosts_mount(self, pod: Object, spec: Object, seen: Seen) -> list[Mount]:
        if any(mount["mountPath"] == "/etc/hosts" for mount in spec.get("volumeMounts") or ()):
            return []
        file = self.settings.pod_dir(objects.uid(pod)) / "etc-hosts"
        ips = seen.sandbox.ips if seen.sandbox else ()
        text = naming.hosts_file(pod, ips, self.settings.cluster_domain, _read(Path("/etc/hosts")) if is_host_network(pod) else "")
        if _read(file) != text:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)  # in place: containers have mounted this very file
        return [Mount("/etc/hosts", str(file))]

    def _message_file(self, pod: Object, name: str) -> Path:
        file = self.settings.pod_dir(objects.uid(pod)) / "containers" / name / secrets.token_hex(4)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
        file.chmod(0o666)
        return file

    def _link_log(self, pod: Object, name: str, identity: str, value: Container) -> None:
        folder = self.settings.container_logs_dir
        link = folder / f"{objects.name(pod)}_{objects.namespace(pod)}_{name}-{identity}.log"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            link.symlink_to(wanted.log_directory(self.settings, pod) / value.log_path)
        except OSError as exc:
            log.warning("cannot link a container's log", link=link, error=exc)

    async def _post_start(self, pod: Object, member: Member, identity: str, ip: str) -> None:
        hook = (member.spec.get("lifecycle") or {}).get("postStart")
        if not hook:
            return
        answer = await ask(hook, Target(identity, ip, member.spec), self.runtime, float("inf") if "sleep" in hook else 3600.0)
        if answer.ok:
            return
        path = _field_path(member)
        self.recorder.warning(kinds.POD, pod, "FailedPostStartHook", "PostStartHook failed", field_path=path)
        self.recorder.normal(kinds.POD, pod, "Killing", "FailedPostStartHook", field_path=path)
        await self.runtime.stop_container(identity, float((pod.get("spec") or {}).get("terminationGracePeriodSeconds") or SHORTEST_GRACE_S))
        raise ActionFailed(member.name, "PostStartHookError", answer.text, wallclock.now())

    # Ending containers.

    async def _kill_containers(self, action: KillContainers, pod: Object | None, seen: Seen) -> None:
        began, failures = trio.current_time(), list[RuntimeFailure]()

        async def attempt(kill: Kill) -> None:
            try:
                await self._kill(kill, kill.grace_s, action.why, pod, seen)
            except RuntimeFailure as exc:
                failures.append(exc)  # the others are ended all the same

        async with trio.open_nursery() as nursery:
            for kill in action.kills:
                nursery.start_soon(attempt, kill)
        if failures:
            raise failures[0]
        for kill in action.later:
            await self._kill(kill, kill.grace_s - (trio.current_time() - began), action.why, pod, seen)

    async def _kill(self, kill: Kill, grace_s: float, why: str, pod: Object | None, seen: Seen) -> None:
        path, began = f"spec.containers{{{kill.name}}}", trio.current_time()
        if pod is not None:
            self.recorder.normal(kinds.POD, pod, "Killing", why or f"Stopping container {kill.name}", field_path=path)
        if kill.pre_stop and grace_s > 0:
            spec = next((m.spec for m in members(pod) if m.name == kill.name), {}) if pod else {}
            ip = seen.sandbox.ips[0] if seen.sandbox and seen.sandbox.ips else self._host_ip()
            answer = await ask(kill.pre_stop, Target(kill.id, ip, spec), self.runtime, grace_s)
            if not answer.ok and pod is not None:
                self.recorder.warning(kinds.POD, pod, "FailedPreStopHook", "PreStopHook failed", field_path=path)
        left_s = max(grace_s - (trio.current_time() - began), SHORTEST_GRACE_S)
        await self.runtime.stop_container(kill.id, left_s)

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

    def _forget(self, uid: str, seen: Seen) -> None:
        self.volumes.take_down(uid)
        self._remove_cgroups(uid)
        for folder in self.settings.pod_logs_dir.glob(f"*_*_{uid}"):
            shutil.rmtree(folder)
        for container in seen.containers:
            for link in self.settings.container_logs_dir.glob(f"*-{container.id}.log"):
                link.unlink(missing_ok=True)

    def _host_ip(self) -> str:
        return self.settings.node_ips[0]


def _field_path(member: Member) -> str:
    section = {"regular": "containers", "ephemeral": "ephemeralContainers"}.get(member.group, "initContainers")
    return f"spec.{section}{{{member.name}}}"


def _read(file: Path) -> str:
    try:
        return file.read_text()
    except OSError:
        return ""
