"""Decide what to do next for one pod.

Nothing here waits, reads a clock or talks to containerd: ``plan`` is given everything it may look at, and what it decides stands in the actions.
``perform.py`` carries them out; then the pod is looked at again. So a plan never needs to think further than to the next thing that changes what
is seen, and an edgek that was killed in the middle of it goes on from what it finds.
"""

from __future__ import annotations

import orjson

from edgek.agent.kubelet import labels
from edgek.agent.kubelet.actions import (
    Action,
    CreateSandbox,
    Finish,
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
    Wait,
)
from edgek.agent.kubelet.lifecycle import (
    AWAY,
    SANDBOX,
    VOLUMES,
    Circumstances,
    Health,
    Member,
    Seen,
    ahead,
    back_off_s,
    deadline,
    ended,
    failed_initialising,
    finished,
    grace_s,
    is_host_network,
    members,
    next_back_off_s,
    resize_pending,
    restart_count,
    restarts,
)
from edgek.agent.runtime.runtime import ContainerStatus
from edgek.model import objects
from edgek.model.objects import Object


def plan(pod: Object | None, seen: Seen, around: Circumstances) -> list[Action]:
    """What to do now, in this order. ``pod`` is None where the API never knew it. Waits come last; empty means: nothing until something happens."""
    if pod is None or around.gone:
        return _clear(pod, seen, around)
    if objects.is_deleting(pod):
        return _terminate(pod, seen, around) or [UnmountVolumes(), Finish()]
    if around.verdict or ended(pod) or finished(pod, seen):
        return _terminate(pod, seen, around) or ([UnmountVolumes()] if around.volumes_present else [])
    if around.away == "stop" or (around.away and not seen.alive):
        return _terminate(pod, seen, around) or _wait_for_server(pod)
    actions = _run(pod, seen, around)
    until = deadline(pod, around.jumped_s)
    return actions if until is None else [*actions, Wait("", until)]


def _wait_for_server(pod: Object) -> list[Action]:
    return [Wait(member.name, float("inf"), AWAY.reason, AWAY.message) for member in members(pod) if member.group != "ephemeral"]


def _run(pod: Object, seen: Seen, around: Circumstances) -> list[Action]:
    """The pod is wanted: bring it up, keep it up."""
    trouble = around.troubles.get(VOLUMES)
    if not around.volumes_ready and (trouble is None or not ahead(trouble.retry_at, around.now)):
        return [PrepareVolumes()]
    if _needs_sandbox(pod, seen):
        if not around.volumes_ready and trouble:
            return [Wait("", trouble.retry_at)]
        return _renew_sandbox(pod, seen, around)
    actions = _replace_sick(pod, seen, around)
    if actions:
        return actions
    if not around.volumes_ready and trouble:
        return [Wait("", trouble.retry_at)]
    return [*_resizes(pod, seen, around), *_extras(pod, seen, around), *_initialise(pod, seen, around)]


def _needs_sandbox(pod: Object, seen: Seen) -> bool:
    sandbox = seen.sandbox
    if sandbox is None or sum(s.ready for s in seen.sandboxes) > 1:
        return True
    return not is_host_network(pod) and not sandbox.ips


def _renew_sandbox(pod: Object, seen: Seen, around: Circumstances) -> list[Action]:
    if seen.alive:
        return [_kill_all(pod, seen, around)]
    ready = [s for s in seen.sandboxes if s.ready]
    if ready:
        return [StopSandbox(s.id) for s in ready]
    trouble = around.troubles.get(SANDBOX)
    if trouble and ahead(trouble.retry_at, around.now):
        return [Wait("", trouble.retry_at)]
    attempt = 1 + max((s.attempt for s in seen.sandboxes), default=-1)
    return [CreateSandbox(attempt, changed=bool(seen.sandboxes) and bool(seen.containers))]


def _replace_sick(pod: Object, seen: Seen, around: Circumstances) -> list[Action]:
    """End containers whose probe failed or whose definition changed, and clear away what was created and never started."""
    actions: list[Action] = []
    for member in members(pod):
        found = seen.current(member.name)
        if found is None:
            continue
        if found.state == "created":
            actions.append(RemoveContainer(found.id, found.name))
        why = _sick(member, found, around)
        if why:
            actions.append(KillContainers((_kill(pod, member, found, around),), why=why))
    stale = [c for c in seen.alive if seen.sandbox and c.sandbox_id != seen.sandbox.id]
    return [*actions, *(KillContainers((_plain_kill(c, grace_s(pod)),)) for c in stale)]


def _sick(member: Member, found: ContainerStatus, around: Circumstances) -> str:
    if found.state == "unknown":
        return f"Container {member.name} is in unknown state, will be restarted"
    if found.state != "running":
        return ""
    health = around.health.get(found.id, Health())
    changed = resize_pending(member, found.id, around) if around.unfit is None else ()
    if any(p["restartPolicy"] == "RestartContainer" and p["resourceName"] in changed for p in member.spec.get("resizePolicy") or ()):
        return f"Container {member.name} resize requires restart"
    if health.failed:
        return f"Container {member.name} failed {health.failed}, will be restarted"
    written = found.annotations.get(labels.HASH)
    if member.group != "ephemeral" and written and written != labels.container_hash(member.spec):
        return f"Container {member.name} definition changed, will be restarted"
    return ""


def _resizes(pod: Object, seen: Seen, around: Circumstances) -> list[Action]:
    """Containers whose resources were changed in place, where the node can give them."""
    actions: list[Action] = []
    for member in members(pod) if around.unfit is None else ():
        found = seen.current(member.name)
        if found and found.state == "running" and resize_pending(member, found.id, around):
            trouble = around.troubles.get(member.name)
            if trouble and ahead(trouble.retry_at, around.now):
                actions.append(Wait("", trouble.retry_at))
            else:
                actions.append(ResizeContainer(found.id, member.name))
    return actions


def _extras(pod: Object, seen: Seen, around: Circumstances) -> list[Action]:
    """Ephemeral containers start whenever they are asked for, once."""
    actions: list[Action] = []
    for member in members(pod):
        if member.group == "ephemeral" and seen.latest(member.name) is None:
            actions += _start(pod, member, seen, around)
    return actions


def _initialise(pod: Object, seen: Seen, around: Circumstances) -> list[Action]:
    """Init containers one after another, then all others; sidecars are kept alive beside both."""
    initialised = any(seen.current(m.name) for m in members(pod) if m.group == "regular")
    actions: list[Action] = []
    for member in members(pod):
        if member.group not in ("init", "sidecar"):
            continue
        found = seen.current(member.name)
        if member.group == "init" and (initialised or (found and found.state == "exited" and found.exit_code == 0)):
            continue
        up = found is not None and found.state == "running"
        if not up:
            actions += _start(pod, member, seen, around)
        if initialised:
            continue
        if not up or member.group == "init" or not around.health.get(found.id if found else "", Health()).started:
            return actions  # whoever comes later has to wait for this one
    return [*actions, *_start_regular(pod, seen, around)]


def _start_regular(pod: Object, seen: Seen, around: Circumstances) -> list[Action]:
    actions: list[Action] = []
    for member in members(pod):
        if member.group != "regular":
            continue
        found = seen.current(member.name)
        if found is None or found.state == "exited":
            actions += _start(pod, member, seen, around)
    return actions


def _start(pod: Object, member: Member, seen: Seen, around: Circumstances) -> list[Action]:
    """Start a container that does not run, or say what it waits for; nothing where it is not to run again."""
    last = seen.latest(member.name)
    if last and last.state == "exited" and not _again(pod, member, last, seen):
        return []
    if last and last.state == "exited" and last.id not in around.excused:
        pause_s = back_off_s(last)
        until = (last.finished_at or last.created_at) + pause_s
        if ahead(until, around.now):
            where = f"{objects.name(pod)}_{objects.namespace(pod)}({objects.uid(pod)})"
            text = f"back-off {_go_duration(pause_s)} restarting failed container={member.name} pod={where}"
            return [Wait(member.name, until, "CrashLoopBackOff", text)]
    trouble = around.troubles.get(member.name)
    if trouble and ahead(trouble.retry_at, around.now):
        return [Wait(member.name, trouble.retry_at, trouble.reason, trouble.message)]
    attempt = 0 if last is None else restart_count(last) + (last.state != "created")
    surplus = [RemoveContainer(c.id, c.name) for c in seen.of_name(member.name)[1:] if c.state == "exited"]
    blamed = None if last and last.id in around.excused else last
    return [*surplus, StartContainer(member.name, attempt, next_back_off_s(blamed))]


def _again(pod: Object, member: Member, last: ContainerStatus, seen: Seen) -> bool:
    here = seen.sandbox is not None and last.sandbox_id == seen.sandbox.id
    if member.group == "init" and not here:
        return True  # a new sandbox is initialised anew
    return restarts(pod, member, last.exit_code)


def _terminate(pod: Object, seen: Seen, around: Circumstances) -> list[Action]:
    """End all containers, then the sandbox. Dead ones stay for their logs while the pod itself stays. Empty: nothing runs any more."""
    if seen.alive:
        return [_kill_all(pod, seen, around)]
    return [StopSandbox(s.id) for s in seen.sandboxes if s.ready]


def _kill_all(pod: Object, seen: Seen, around: Circumstances) -> KillContainers:
    """Regular containers together; then the sidecars, the last one started first."""
    known = {member.name: member for member in members(pod)}
    at_once, later = [], []
    for found in seen.alive:
        member = known.get(found.name)
        if member is None:
            at_once.append(_plain_kill(found, grace_s(pod)))
        elif member.group == "sidecar" and not failed_initialising(pod, seen):
            later.append((list(known).index(found.name), _kill(pod, member, found, around)))
        else:
            at_once.append(_kill(pod, member, found, around))
    return KillContainers(tuple(at_once), tuple(kill for _, kill in sorted(later, key=lambda pair: -pair[0])))


def _kill(pod: Object, member: Member, found: ContainerStatus, around: Circumstances) -> Kill:
    grace = grace_s(pod)
    health = around.health.get(found.id, Health())
    if around.verdict and around.verdict.grace_s is not None:
        grace = min(grace, around.verdict.grace_s)
    elif health.failed and not objects.is_deleting(pod):
        probe = member.spec.get("livenessProbe" if health.failed == "liveness probe" else "startupProbe") or {}
        grace = float(probe.get("terminationGracePeriodSeconds") or grace)
    return Kill(found.id, found.name, grace, (member.spec.get("lifecycle") or {}).get("preStop"))


def _plain_kill(found: ContainerStatus, grace: float) -> Kill:
    """A container that the pod does not (any longer) speak of: what it needs is written on it."""
    hook = found.annotations.get(labels.PRE_STOP)
    return Kill(found.id, found.name, labels.number(found.annotations, labels.GRACE, grace), orjson.loads(hook) if hook else None)


def _clear(pod: Object | None, seen: Seen, around: Circumstances) -> list[Action]:
    """The API does not know the pod any more: nothing of it may stay."""
    if seen.alive and pod is not None:
        return [_kill_all(pod, seen, around)]
    if seen.alive:
        late = [c for c in seen.alive if c.annotations.get(labels.GROUP) == "sidecar"]
        first = [c for c in seen.alive if c not in late]
        return [KillContainers(tuple(_plain_kill(c, 30.0) for c in first), tuple(_plain_kill(c, 30.0) for c in late))]
    stopped: list[Action] = [StopSandbox(s.id) for s in seen.sandboxes if s.ready]
    gone: list[Action] = [RemoveContainer(c.id, c.name) for c in seen.containers]
    boxes: list[Action] = [RemoveSandbox(s.id) for s in seen.sandboxes]
    return [*stopped, *gone, *boxes, UnmountVolumes(), Forget()]


def _go_duration(seconds: float) -> str:
    """``2m40s``, as Go prints durations."""
    whole = int(seconds)
    minutes, rest = divmod(whole, 60)
    return f"{minutes}m{rest}s" if minutes else f"{rest}s"
