"""What a pod's containers are and how far they have come: the words that ``plan.py`` and ``status.py`` share.

Pure: values in, values out. Times are seconds since the epoch.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import attrs

from edgek.agent.kubelet import labels
from edgek.agent.runtime.runtime import ContainerStatus, SandboxStatus
from edgek.model import instants, objects
from edgek.model.objects import Object

Group = Literal["init", "sidecar", "regular", "ephemeral"]

BACK_OFF_FIRST_S = 10.0
BACK_OFF_MOST_S = 300.0
LONGEST_WAIT_S = 2 * BACK_OFF_MOST_S
BACK_OFF_FORGOTTEN_S = 600.0  # a container that ran this long starts again at once


@attrs.frozen
class Member:
    """A container of the pod's spec. ``group`` says how it is started and stopped."""

    spec: Object
    group: Group

    @property
    def name(self) -> str:
        return str(self.spec["name"])


def members(pod: Object) -> tuple[Member, ...]:
    """All containers in the order in which they start."""
    spec = pod.get("spec") or {}
    first = [Member(c, "sidecar" if c.get("restartPolicy") == "Always" else "init") for c in spec.get("initContainers") or ()]
    regular = [Member(c, "regular") for c in spec.get("containers") or ()]
    return (*first, *regular, *(Member(c, "ephemeral") for c in spec.get("ephemeralContainers") or ()))


FIELDS: Mapping[Group, str] = {
    "init": "initContainers",
    "sidecar": "initContainers",
    "regular": "containers",
    "ephemeral": "ephemeralContainers",
}  # where the spec lists them


def field_path(pod: Object, name: str) -> str:
    """How events name a container."""
    group: Group = next((member.group for member in members(pod) if member.name == name), "regular")
    return f"spec.{FIELDS[group]}{{{name}}}"


@attrs.frozen
class Health:
    """What the probes of a running container say. ``failed`` is the probe for which it must be killed."""

    started: bool = True
    ready: bool = True
    failed: Literal["", "liveness probe", "startup probe"] = ""


@attrs.frozen
class Trouble:
    """Why the last try to start a container (or the sandbox, or the volumes) failed, and when the next may be."""

    reason: str
    message: str
    retry_at: float


@attrs.frozen
class Verdict:
    """The pod has to end for a reason outside of its containers: refused, evicted, too old."""

    reason: str
    message: str
    grace_s: float | None = None


def resize_pending(member: Member, container_id: str, around: Circumstances) -> tuple[str, ...]:
    """The resources (``cpu``, ``memory``) of which a running container has been given other amounts than its spec asks for now."""
    applied = around.applied.get(container_id)
    if applied is None:
        return ()
    wanted = member.spec.get("resources") or {}

    def of(resources: Object, name: str) -> list[object]:
        return [(resources.get(section) or {}).get(name) for section in ("requests", "limits")]

    return tuple(name for name in ("cpu", "memory") if of(applied, name) != of(wanted, name))


# Where a pod must not run because nobody knows whether the cluster has replaced it: nothing is begun, or everything is ended.
AwayState = Literal["", "unsure", "stop"]
AWAY = Verdict("ServerAway", "The node was without the server for longer than the pod may run so (edgek.io/when-away)")

SANDBOX = ""  # the key of the sandbox among the troubles
VOLUMES = "/volumes"


@attrs.frozen
class Circumstances:
    """Everything beside the pod and its containers that a decision may depend on. ``health`` is by container id, ``troubles`` by container name."""

    now: float
    health: Mapping[str, Health] = attrs.field(factory=dict)
    troubles: Mapping[str, Trouble] = attrs.field(factory=dict)
    verdict: Verdict | None = None
    volumes_ready: bool = True
    applied: Mapping[str, Object] = attrs.field(factory=dict)  # by container id: the resources that it has been given
    unfit: Verdict | None = None  # the resources asked for now do not fit the node
    volumes_present: bool = False  # there is something to take down
    gone: bool = False  # the API has forgotten the pod
    jumped_s: float = 0.0  # by how much the clock was set forward since the pod started
    away: AwayState = ""
    excused: frozenset[str] = frozenset()  # ids of containers that were ended because the server was away: the next ones need not wait


@attrs.frozen
class Seen:
    """What the runtime shows of one pod, newest first."""

    sandboxes: tuple[SandboxStatus, ...] = ()
    containers: tuple[ContainerStatus, ...] = ()

    @classmethod
    def of(cls, sandboxes: list[SandboxStatus], containers: list[ContainerStatus]) -> Seen:
        """By the count of attempts: the clock by which they are stamped may have been set back."""
        return cls(
            tuple(sorted(sandboxes, key=lambda s: (s.attempt, s.created_at), reverse=True)),
            tuple(sorted(containers, key=lambda c: (c.attempt, c.created_at), reverse=True)),
        )

    @property
    def sandbox(self) -> SandboxStatus | None:
        """The newest sandbox, where it is ready."""
        return self.sandboxes[0] if self.sandboxes and self.sandboxes[0].ready else None

    def of_name(self, name: str) -> tuple[ContainerStatus, ...]:
        return tuple(c for c in self.containers if c.name == name)

    def latest(self, name: str) -> ContainerStatus | None:
        return next((c for c in self.containers if c.name == name), None)

    def current(self, name: str) -> ContainerStatus | None:
        """The newest container of that name in the sandbox that counts."""
        sandbox = self.sandbox
        if sandbox is None:
            return None
        return next((c for c in self.containers if c.name == name and c.sandbox_id == sandbox.id), None)

    @property
    def alive(self) -> tuple[ContainerStatus, ...]:
        return tuple(c for c in self.containers if c.state in ("running", "unknown"))


def restart_policy(pod: Object) -> str:
    return str((pod.get("spec") or {}).get("restartPolicy") or "Always")


def restarts(pod: Object, member: Member, exit_code: int) -> bool:
    """Whether a container that ended with ``exit_code`` starts again."""
    if member.group == "sidecar":
        return True
    if member.group == "ephemeral":
        return False
    for rule in member.spec.get("restartPolicyRules") or ():
        codes = (rule.get("exitCodes") or {}).get("values") or ()
        inside = (rule.get("exitCodes") or {}).get("operator") == "In"
        if rule.get("action") == "Restart" and (exit_code in codes) == inside:
            return True
    policy = member.spec.get("restartPolicy") or restart_policy(pod)
    if member.group == "init":
        return exit_code != 0 and policy != "Never"
    return policy == "Always" or (policy == "OnFailure" and exit_code != 0)


def back_off_s(last: ContainerStatus) -> float:
    """How long a successor of ``last`` has to wait after its end."""
    if last.finished_at and last.started_at and last.finished_at - last.started_at > BACK_OFF_FORGOTTEN_S:
        return 0.0
    return min(labels.number(last.annotations, labels.BACK_OFF), BACK_OFF_MOST_S)


def next_back_off_s(last: ContainerStatus | None) -> float:
    """What to write on the successor of ``last``, for the successor's own end."""
    if last is None:
        return 0.0
    return min(max(back_off_s(last) * 2, BACK_OFF_FIRST_S), BACK_OFF_MOST_S)


def ahead(until: float, now: float) -> bool:
    """Whether there is still to wait. A time too far off is from before the clock was set back: nobody waits for it."""
    return now < until <= now + LONGEST_WAIT_S


def restart_count(container: ContainerStatus | None) -> int:
    return 0 if container is None else int(labels.number(container.annotations, labels.RESTART_COUNT, container.attempt))


def initialised(pod: Object, seen: Seen) -> bool:
    """Whether the init containers are behind us in the present sandbox."""
    if any(seen.current(m.name) for m in members(pod) if m.group == "regular"):
        return True
    for member in members(pod):
        if member.group == "init":
            found = seen.current(member.name)
            if found is None or found.state != "exited" or found.exit_code != 0:
                return False
    return True


def failed_initialising(pod: Object, seen: Seen) -> bool:
    """An init container failed for good."""
    if any(seen.current(m.name) for m in members(pod) if m.group == "regular"):
        return False
    for member in members(pod):
        found = seen.latest(member.name)
        if member.group == "init" and found and found.state == "exited" and found.exit_code != 0 and not restarts(pod, member, found.exit_code):
            return True
    return False


def finished(pod: Object, seen: Seen) -> bool:
    """No regular container will run again: the pod has succeeded or failed."""
    if failed_initialising(pod, seen):
        return True
    for member in members(pod):
        if member.group != "regular":
            continue
        found = seen.latest(member.name)
        if found is None or found.state != "exited" or restarts(pod, member, found.exit_code):
            return False
    return True


def ended(pod: Object) -> bool:
    """The API already says that this pod is over, and that is never taken back."""
    return (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed")


def started_at(pod: Object) -> float | None:
    start = (pod.get("status") or {}).get("startTime")
    return instants.parse(start).timestamp() if start else None


def deadline(pod: Object, jumped_s: float = 0.0) -> float | None:
    """When ``activeDeadlineSeconds`` is over, by a clock that was set forward by ``jumped_s`` since the pod started: that ends no pod."""
    seconds, start = (pod.get("spec") or {}).get("activeDeadlineSeconds"), started_at(pod)
    return None if seconds is None or start is None else start + float(seconds) + jumped_s


def overdue(pod: Object, now: float, jumped_s: float = 0.0) -> Verdict | None:
    """The verdict on a pod whose ``activeDeadlineSeconds`` are over."""
    until = deadline(pod, jumped_s)
    if until is None or now < until or ended(pod):
        return None
    return Verdict("DeadlineExceeded", "Pod was active on the node longer than the specified deadline")


def stopped_for_good(pod: Object, seen: Seen, away: AwayState) -> Verdict | None:
    """The verdict on a pod that is stopped because the server is away, and whose containers do not begin again: how they end tells nothing."""
    return AWAY if away == "stop" and seen.alive and restart_policy(pod) != "Always" and not objects.is_deleting(pod) else None


def is_static(pod: Object) -> bool:
    return objects.annotations(pod).get(labels.STATIC_SOURCE) == "file"


def is_host_network(pod: Object) -> bool:
    return bool((pod.get("spec") or {}).get("hostNetwork"))


def grace_s(pod: Object) -> float:
    """How long the pod's containers may take to end, as the deletion or the spec says."""
    asked = (pod.get("metadata") or {}).get("deletionGracePeriodSeconds")
    if asked is None or not objects.is_deleting(pod):
        asked = (pod.get("spec") or {}).get("terminationGracePeriodSeconds")
    return 30.0 if asked is None else float(asked)
