"""Probes: one task for each probe of a running container, asleep between two questions, and what their answers add up to.

The startup probe gates the others. ``failureThreshold`` bad answers in a row make a container sick (liveness, startup) or not ready; after
``successThreshold`` good ones it is ready. A container that the API already called started is not asked to start again.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from typing import Any

import attrs
import trio

from edgek.agent.kubelet.handlers import Answer, Target, ask
from edgek.agent.kubelet.lifecycle import Health, Member, field_path
from edgek.agent.runtime.runtime import ContainerStatus, Runtime, RuntimeGone
from edgek.client.events import Recorder
from edgek.host import log, wallclock
from edgek.model import kinds, objects
from edgek.model.objects import Object

KINDS = ("startup", "liveness", "readiness")
TITLES = {"startup": "Startup", "liveness": "Liveness", "readiness": "Readiness"}


@attrs.frozen
class Timing:
    """A probe's numbers, with the API's defaults."""

    initial_delay_s: float = 0
    period_s: float = 10
    timeout_s: float = 1
    failures: int = 3
    successes: int = 1

    @classmethod
    def of(cls, probe: Mapping[str, Any]) -> Timing:
        return cls(
            float(probe.get("initialDelaySeconds") or 0),
            float(probe.get("periodSeconds") or 10),
            float(probe.get("timeoutSeconds") or 1),
            int(probe.get("failureThreshold") or 3),
            int(probe.get("successThreshold") or 1),
        )


@attrs.frozen
class Tally:
    """Answers in a row, and what follows from them. Pure."""

    good: bool
    row: int = 0
    last: bool | None = None

    def counted(self, ok: bool, timing: Timing) -> Tally:
        row = self.row + 1 if self.last == ok else 1
        needed = timing.successes if ok else timing.failures
        return Tally(ok if row >= needed else self.good, row, ok)


@attrs.define
class _Watched:
    scope: trio.CancelScope
    health: Health
    killing: trio.CancelScope = attrs.field(factory=trio.CancelScope)  # around the probes for which a container is killed
    started: trio.Event = attrs.field(factory=trio.Event)


@attrs.frozen
class _Subject:
    """Who is probed. ``again``: it was known before we started, so there is no hurry."""

    pod: Object
    member: Member
    container: ContainerStatus
    watched: _Watched
    target: Target
    again: bool


class Prober:
    """``changed(uid)`` is called when the health of a container of that pod changed."""

    def __init__(self, runtime: Runtime, recorder: Recorder, changed: Callable[[str], None]) -> None:
        self._runtime = runtime
        self._recorder = recorder
        self._changed = changed
        self._watched: dict[str, _Watched] = {}
        self._nursery: trio.Nursery | None = None

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        async with trio.open_nursery() as self._nursery:
            task_status.started()
            await trio.sleep_forever()

    def health(self) -> Mapping[str, Health]:
        return {container_id: watched.health for container_id, watched in self._watched.items()}

    def follow(self, pod: Object, member: Member, container: ContainerStatus, pod_ip: str) -> None:
        """Probe this running container from now on; may be called again."""
        probes = {kind: member.spec[f"{kind}Probe"] for kind in KINDS if member.spec.get(f"{kind}Probe")}
        if container.id in self._watched or not probes or self._nursery is None:
            return
        before = _shown(pod, member.name, container.id)
        started = "startup" not in probes or bool(before.get("started"))
        ready = "readiness" not in probes or bool(before.get("ready"))
        watched = self._watched[container.id] = _Watched(trio.CancelScope(), Health(started=started, ready=ready))
        if started:
            watched.started.set()
        subject = _Subject(pod, member, container, watched, Target(container.id, pod_ip, member.spec), again=bool(before))
        self._nursery.start_soon(self._probe_all, subject, probes)

    def stop(self, container_id: str) -> None:
        """The container is over."""
        watched = self._watched.pop(container_id, None)
        if watched:
            watched.scope.cancel()

    def freeze(self, container_id: str) -> None:
        """The container is being ended: only whether it is ready is still asked."""
        watched = self._watched.get(container_id)
        if watched:
            watched.killing.cancel()

    async def _probe_all(self, subject: _Subject, probes: Mapping[str, Any]) -> None:
        with subject.watched.scope:
            async with trio.open_nursery() as nursery:
                if "readiness" in probes:
                    nursery.start_soon(self._probe, "readiness", probes["readiness"], subject)
                with subject.watched.killing:
                    async with trio.open_nursery() as killing:
                        if "startup" in probes and not subject.watched.started.is_set():
                            killing.start_soon(self._probe, "startup", probes["startup"], subject)
                        if "liveness" in probes:
                            killing.start_soon(self._probe, "liveness", probes["liveness"], subject)

    async def _probe(self, kind: str, probe: Mapping[str, Any], subject: _Subject) -> None:
        timing = Timing.of(probe)
        if kind != "startup":
            await subject.watched.started.wait()
        age_s = max(0.0, wallclock.now() - subject.container.started_at)  # a clock that was set back makes nobody wait longer
        await trio.sleep(max(0.0, timing.initial_delay_s - age_s))
        if subject.again:
            await trio.sleep(random.uniform(0, timing.period_s))  # after our own start all pods would be asked at once
        tally = Tally(good=kind == "liveness" or (kind == "readiness" and subject.watched.health.ready))
        while True:
            due = trio.current_time() + timing.period_s
            try:
                answer = await ask(probe, subject.target, self._runtime, timing.timeout_s)
            except RuntimeGone:
                answer = None  # nothing is known; the container is not to blame
            if answer is not None:
                tally = self._judge(kind, answer, tally, timing, subject)
                if kind == "startup" and tally.good:
                    return
            await trio.sleep_until(due)

    def _judge(self, kind: str, answer: Answer, tally: Tally, timing: Timing, subject: _Subject) -> Tally:
        new, watched, path = tally.counted(answer.ok, timing), subject.watched, field_path(subject.pod, subject.member.name)
        if not answer.ok:
            self._recorder.warning(kinds.POD, subject.pod, "Unhealthy", f"{TITLES[kind]} probe failed: {answer.text}", field_path=path)
        elif answer.warning:
            self._recorder.warning(kinds.POD, subject.pod, "ProbeWarning", f"{TITLES[kind]} probe warning: {answer.text}", field_path=path)
        health = self._health_after(kind, new, watched.health, timing)
        if health != watched.health:
            log.debug("health changed", pod=objects.key(subject.pod), container=subject.member.name, probe=kind, ok=answer.ok)
            watched.health = health
            if health.started:
                watched.started.set()
            self._changed(objects.uid(subject.pod))
        return new

    def _health_after(self, kind: str, tally: Tally, health: Health, timing: Timing) -> Health:
        if kind == "readiness":
            return attrs.evolve(health, ready=tally.good)
        if kind == "startup" and tally.good:
            return attrs.evolve(health, started=True)
        if tally.last is False and tally.row >= timing.failures:
            return attrs.evolve(health, failed="liveness probe" if kind == "liveness" else "startup probe")
        return health


def _shown(pod: Object, name: str, container_id: str) -> Object:
    """What the API says of this very container."""
    status = pod.get("status") or {}
    for key in ("containerStatuses", "initContainerStatuses"):
        for shown in status.get(key) or ():
            if shown["name"] == name and str(shown.get("containerID") or "").endswith(container_id):
                return dict(shown)
    return {}
