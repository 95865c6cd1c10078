"""Starting one container: image, environment, mounts, create, start, postStart. What fails is said in the kubelet's words and travels."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import attrs
import trio

from edgek.agent.kubelet import naming, wanted
from edgek.agent.kubelet.actions import StartContainer
from edgek.agent.kubelet.environment import ConfigError, Surroundings, environment, references
from edgek.agent.kubelet.handlers import Target, ask
from edgek.agent.kubelet.images import Images, PullFailed
from edgek.agent.kubelet.lifecycle import Member, Seen, field_path, is_host_network, members
from edgek.agent.kubelet.references import References, Unreachable
from edgek.agent.kubelet.settings import KubeletSettings
from edgek.agent.kubelet.volumes.pod_volumes import PodVolumes
from edgek.agent.runtime.runtime import Container, Image, Mount, Runtime, RuntimeFailure, RuntimeGone, SandboxStatus
from edgek.client.events import Recorder
from edgek.host import log, wallclock
from edgek.model import kinds, objects
from edgek.model.objects import Object

RETRY_S = 10.0  # after a failure that is not told apart further; a changed ConfigMap or Secret wakes its pods sooner
HOOK_MOST_S = 3600.0  # a postStart hook that takes longer has failed
HOOK_GRACE_S = 2.0  # for a container whose hook failed and whose pod names no other


class ActionFailed(Exception):
    """``name`` is a container's, or lifecycle.SANDBOX or VOLUMES. ``retry_at`` None: by the caller's own back-off."""

    def __init__(self, name: str, reason: str, message: str, retry_at: float | None = None) -> None:
        super().__init__(f"{reason}: {message}")
        self.name = name
        self.reason = reason
        self.message = message
        self.retry_at = retry_at


@attrs.frozen
class Starter:
    """``surroundings`` tells what containers may ask of their node."""

    settings: KubeletSettings
    runtime: Runtime
    images: Images
    volumes: PodVolumes
    references: References
    recorder: Recorder
    surroundings: Callable[[Object, Seen], Surroundings]
    memory_capacity_bytes: int

    async def start(self, action: StartContainer, pod: Object, seen: Seen) -> None:
        """Raises ActionFailed, RuntimeGone."""
        member = next(m for m in members(pod) if m.name == action.name)
        sandbox = seen.sandbox
        if sandbox is None:
            return  # it went away meanwhile; the next look sees that
        try:
            image = await self.images.ensure(pod, member.spec)
        except PullFailed as exc:
            raise ActionFailed(member.name, exc.reason, str(exc), exc.retry_at) from None
        try:
            value = await self._container(action, pod, member, seen, image)
        except (ConfigError, Unreachable, OSError) as exc:
            raise self._failed(pod, member, "CreateContainerConfigError", exc, RETRY_S) from None
        with trio.CancelScope(shield=True):  # a start that is broken off leaves a container that can neither run nor be removed for a while
            identity = await self._create_and_start(pod, member, sandbox, value)
        self._link_log(pod, member.name, identity, value)
        await self._post_start(pod, member, identity, sandbox.ips[0] if sandbox.ips else self.settings.node_ips[0])

    async def _create_and_start(self, pod: Object, member: Member, sandbox: SandboxStatus, value: Container) -> str:
        again = wanted.sandbox(self.settings, pod, sandbox.attempt, naming.for_pod(self.settings, pod))
        try:
            identity = await self.runtime.create_container(sandbox.id, value, again)
        except RuntimeGone:
            raise
        except RuntimeFailure as exc:
            raise self._failed(pod, member, exc.reason or "CreateContainerError", exc, RETRY_S) from None
        self.recorder.normal(kinds.POD, pod, "Created", "Container created", field_path=field_path(pod, member.name))
        try:
            await self.runtime.start_container(identity)
        except RuntimeGone:
            raise
        except RuntimeFailure as exc:
            raise self._failed(pod, member, exc.reason or "RunContainerError", exc, 0.0) from None
        self.recorder.normal(kinds.POD, pod, "Started", "Container started", field_path=field_path(pod, member.name))
        return identity

    def _failed(self, pod: Object, member: Member, reason: str, exc: Exception, retry_s: float) -> ActionFailed:
        self.recorder.warning(kinds.POD, pod, "Failed", f"Error: {exc}", field_path=field_path(pod, member.name))
        return ActionFailed(member.name, reason, str(exc), wallclock.now() + retry_s)

    async def _container(self, action: StartContainer, pod: Object, member: Member, seen: Seen, image: Image) -> Container:
        uid, namespace = objects.uid(pod), objects.namespace(pod)
        found = {(kind, name): await self.references.get(kind, namespace, name, uid) for kind, name in references(member.spec)}
        env = environment(pod, member.spec, found, self.surroundings(pod, seen))
        await self.volumes.release_parts(pod, member.name)
        mounts = list(await self.volumes.mounts(pod, member.spec, env))
        mounts += self._hosts_mount(pod, member.spec, seen)
        message_file = self._message_file(pod, member.name, action.attempt)
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

    def _hosts_mount(self, pod: Object, spec: Object, seen: Seen) -> list[Mount]:
        if any(mount["mountPath"] == "/etc/hosts" for mount in spec.get("volumeMounts") or ()):
            return []
        file = self.settings.pod_dir(objects.uid(pod)) / "etc-hosts"
        ips = seen.sandbox.ips if seen.sandbox else ()
        own = naming.read(Path("/etc/hosts")) if is_host_network(pod) else ""
        text = naming.hosts_file(pod, ips, self.settings.cluster_domain, own)
        if naming.read(file) != text:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)  # in place: containers have mounted this very file
        return [Mount("/etc/hosts", str(file))]

    def _message_file(self, pod: Object, name: str, attempt: int) -> Path:
        file = self.settings.pod_dir(objects.uid(pod)) / "containers" / name / str(attempt)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"")
        file.chmod(0o666)  # for whatever user the container runs as
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
        answer = await ask(hook, Target(identity, ip, member.spec), self.runtime, HOOK_MOST_S)
        if answer.ok:
            return
        path = field_path(pod, member.name)
        self.recorder.warning(kinds.POD, pod, "FailedPostStartHook", "PostStartHook failed", field_path=path)
        self.recorder.normal(kinds.POD, pod, "Killing", "FailedPostStartHook", field_path=path)
        await self.runtime.stop_container(identity, float((pod.get("spec") or {}).get("terminationGracePeriodSeconds") or HOOK_GRACE_S))
        raise ActionFailed(member.name, "PostStartHookError", answer.text, wallclock.now())
