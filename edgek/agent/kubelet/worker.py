"""One pod's life on this node: look, decide, tell the API, act, and look again; asleep while there is nothing to do."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import attrs
import trio

from edgek.agent.kubelet import lifecycle
from edgek.agent.kubelet.actions import Action, Finish, Forget, KillContainers, PrepareVolumes, ResizeContainer, Wait
from edgek.agent.kubelet.applied import Applied
from edgek.agent.kubelet.freshness import Freshness
from edgek.agent.kubelet.lifecycle import SANDBOX, VOLUMES, AwayState, Circumstances, Health, Seen, Verdict
from edgek.agent.kubelet.observe import Observer
from edgek.agent.kubelet.perform import Performer
from edgek.agent.kubelet.plan import plan
from edgek.agent.kubelet.probes import Prober
from edgek.agent.kubelet.publish import Publisher
from edgek.agent.kubelet.setbacks import FUTILE, PAUSE_FIRST_S, STEP, Setbacks
from edgek.agent.kubelet.starting import ActionFailed
from edgek.agent.kubelet.status import OURS, status
from edgek.agent.runtime.runtime import RuntimeFailure, RuntimeGone
from edgek.client.events import Recorder
from edgek.host import log, wallclock
from edgek.model import kinds, objects
from edgek.model.objects import Object

TELLING_PAUSE_S = 0.3  # most steps are over sooner, and then nobody has to look in between


@attrs.frozen
class Tools:
    """What all workers share. ``admit`` is asked once for a pod of which nothing runs yet."""

    observer: Observer
    performer: Performer
    prober: Prober
    publisher: Publisher
    recorder: Recorder
    admit: Callable[[Object], Verdict | None]
    unfit: Callable[[Object], Verdict | None]  # asked when the resources of a running pod were changed
    host_ips: Sequence[str]


class PodWorker:
    """``pod`` is None for a pod that only the runtime knows."""

    def __init__(self, uid: str, pod: Object | None, tools: Tools, *, admitted: bool = False) -> None:
        self.uid = uid
        self.pod = pod
        self.gone = pod is None
        self.seen = Seen()
        self.verdict: Verdict | None = None
        self.looked = trio.Event()  # set, and replaced, after each look at the pod
        self.over = False
        self.away: AwayState = ""
        self._excused: frozenset[str] = frozenset()
        self._tools = tools
        self._wake = trio.Event()
        self._scope: trio.CancelScope | None = None  # around what is being done now
        self._killing = False
        self._setbacks = Setbacks()
        self._volumes = Freshness()
        self._waits: list[Wait] = []  # of the newest plan
        self._tried: tuple[list[Action], Seen] | None = None  # what was done last, and what was seen before it
        self._applied = Applied()
        self._finishing = False
        self._said: Object = {}  # the newest status, which the API may not show yet
        self._admitted = admitted
        self._look_due = True  # the runtime may show something else than ``seen``

    # What others tell it.

    def wake(self) -> None:
        """Something changed on the node."""
        self._look_due = True
        self._wake.set()

    def refresh(self) -> None:
        """Something that the pod refers to changed: what failed for want of it may be tried again now."""
        self._setbacks.changed()
        self._setbacks.go_on()
        self._volumes.changed()
        self.wake()

    def update(self, pod: Object) -> None:
        """The API shows the pod anew."""
        before, self.pod = self.pod, pod
        if before is not None and _labels(before) != _labels(pod):
            self._setbacks.changed()  # an environment or a subPath may be made from these
            self._volumes.changed()
        if before is not None and _more_urgent(before, pod, killing=self._killing):
            self._interrupt()
        self._wake.set()  # mostly it is our own status coming back: the runtime need not be asked about that

    def recall(self, shown: Object) -> None:
        """What the API says of this static pod from the time before we started: times of changes are taken from there."""
        if shown.get("conditions"):
            self._said = shown
            self.wake()

    def forget(self) -> None:
        """The API has no such pod any more."""
        self.gone = True
        if not self._killing:
            self._interrupt()
        self.wake()

    def end(self, verdict: Verdict) -> None:
        """It must stop for a reason from outside."""
        if self.verdict is None:
            self.verdict = verdict
            if self.pod is not None:
                self._tools.recorder.warning(kinds.POD, self.pod, verdict.reason, verdict.message)
            self._interrupt()
            self.wake()

    def away_is(self, away: AwayState) -> None:
        """Whether it may run while the server is away is seen differently from now on."""
        if away == self.away:
            return
        self.away = away
        if away == "stop" and not self._killing:
            self._interrupt()
        self.wake()

    @property
    def occupies(self) -> bool:
        """Whether the pod counts against what the node has."""
        return self.pod is not None and not self.gone and self.verdict is None and not lifecycle.ended(self.pod)

    # Its life.

    async def run(self) -> None:
        """Until nothing of the pod is left on the node."""
        while not self.over:
            self._wake = trio.Event()
            try:
                pause_s = await self._step()
            except RuntimeGone:
                pause_s = PAUSE_FIRST_S
            except Exception as exc:  # the border of this loop: one pod's trouble is not another's
                pause_s = self._setbacks.pause_s(STEP)
                log.error("pod worker stumbled", pod=self._name(), error=repr(exc), retry_s=pause_s)
            await self._sleep(pause_s)
        self.looked.set()

    async def _step(self) -> float:
        """Look, decide, tell, act; after how many seconds to do it again (0: at once)."""
        if self._look_due:
            self._look_due = False
            self.seen = await self._look()
        self._admit()
        around = self._circumstances()
        actions = plan(self._as_said(), self.seen, around)
        waits = self._waits = [action for action in actions if isinstance(action, Wait)]
        todo: list[Action] = [action for action in actions if not isinstance(action, Wait)]
        self._tell(around, waits, finish=any(isinstance(action, Finish) for action in todo), passing=bool(todo))
        resting = self._finishing and not self.gone  # the API has been asked to forget it
        if todo and not resting and (todo, self.seen) == self._tried:
            self._tried = None
            self._setbacks.put_off(FUTILE)
            log.warning("a step changed nothing", pod=self._name(), step=type(todo[0]).__name__)
        if todo and not resting and not self._setbacks.left_s:
            self._tried = (todo, self.seen)
            self._look_due = True
            self.over = await self._act(todo)
            return 0.0
        if not todo:
            self._tried = None
            self._setbacks.recovered(FUTILE)
        if await self._refresh_volumes():
            return 0.0
        return self._next_look(waits)

    async def _look(self) -> Seen:
        try:
            seen = await self._tools.observer.look(self.uid)
        except BaseException:
            self._look_due = True
            raise
        self.looked.set()
        self.looked = trio.Event()
        return seen

    def _admit(self) -> None:
        if self._admitted or self.pod is None:
            return
        self._admitted = True
        fresh = not self.seen.sandboxes and not lifecycle.ended(self.pod) and not objects.is_deleting(self.pod)
        verdict = self._tools.admit(self.pod) if fresh else None
        if verdict:
            log.info("pod refused", pod=objects.key(self.pod), reason=verdict.reason)
            self.end(verdict)

    def _circumstances(self) -> Circumstances:
        self._follow_probes()
        now, jumped_s = wallclock.now(), self._jumped_s()
        verdict = self.verdict
        if verdict is None and self.pod is not None:
            verdict = lifecycle.overdue(self._as_said() or self.pod, now, jumped_s) or lifecycle.stopped_for_good(self.pod, self.seen, self.away)
            if verdict:
                self.end(verdict)
        health: Mapping[str, Health] = self._tools.prober.health()
        applied = self._applied.to(self.pod, self.seen)
        self._excused &= {container.id for container in self.seen.containers}
        return Circumstances(
            now,
            jumped_s=jumped_s,
            applied=applied,
            unfit=self._unfit(),
            health={c.id: health[c.id] for c in self.seen.containers if c.id in health},
            troubles=self._setbacks.troubles,
            verdict=verdict,
            volumes_ready=self._volumes.built,
            volumes_present=self._tools.performer.volumes.present(self.uid),
            gone=self.gone,
            away=self.away,
            excused=self._excused,
        )

    def _jumped_s(self) -> float:
        start = lifecycle.started_at(self._as_said() or self.pod or {})
        return 0.0 if start is None else wallclock.jumped_since(start)

    def _unfit(self) -> Verdict | None:
        if self.pod is None or self.gone or not self._applied.differ(self.pod, self.seen):
            return None
        return self._tools.unfit(self.pod)

    def _follow_probes(self) -> None:
        pod, prober = self.pod, self._tools.prober
        ending = pod is None or self.gone or self.away == "stop" or self.verdict is not None or objects.is_deleting(pod) or lifecycle.ended(pod)
        for container in self.seen.containers:
            if container.state != "running":
                prober.stop(container.id)
            elif ending:
                prober.freeze(container.id)
            elif pod is not None:
                member = next((m for m in lifecycle.members(pod) if m.name == container.name), None)
                ips = self.seen.sandbox.ips if self.seen.sandbox else ()
                if member is not None:
                    prober.follow(pod, member, container, ips[0] if ips else self._tools.host_ips[0])

    def _tell(self, around: Circumstances, waits: Sequence[Wait], *, finish: bool, passing: bool) -> None:
        pod = self._as_said()
        if pod is None or self.gone:
            return
        over = finish or (around.verdict is not None and not self.seen.alive)
        self._said = status(pod, self.seen, around, waits, self._tools.host_ips, over=over)
        for wait in waits:
            if wait.reason == "CrashLoopBackOff":
                where = f"{objects.name(pod)}_{objects.namespace(pod)}({self.uid})"
                text = f"Back-off restarting failed container {wait.name} in pod {where}"
                self._tools.recorder.warning(kinds.POD, pod, "BackOff", text, field_path=lifecycle.field_path(pod, wait.name))
        if not finish:
            self._tools.publisher.say(pod, self._said, passing=passing)

    def _as_said(self) -> Object | None:
        """The pod with the status that we gave it last; conditions of others as the API shows them."""
        if self.pod is None or not self._said:
            return self.pod
        shown = self.pod.get("status") or {}
        ours = [c for c in self._said["conditions"] if c["type"] in OURS]
        others = [c for c in shown.get("conditions") or () if c["type"] not in OURS]
        return {**self.pod, "status": {**shown, **self._said, "conditions": [*ours, *others]}}

    async def _act(self, todo: Sequence[Action]) -> bool:
        """Carry out, one after another; True when the pod's life is over."""
        over = False
        with trio.CancelScope() as self._scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._keep_telling)
                for action in todo:
                    self._killing = isinstance(action, KillContainers)
                    if self.away == "stop":
                        self._excused |= {container.id for container in self.seen.alive}
                    if isinstance(action, Finish):
                        self._finish()
                    elif not await self._perform(action):
                        break
                    over = isinstance(action, Forget)
                    self._wake.set()  # what this one changed is told, should the next take long
                nursery.cancel_scope.cancel()
        self._scope, self._killing = None, False
        return over

    async def _keep_telling(self) -> None:
        """What changes while something takes its time is shown all the same: a readiness, the end of one container before the others."""
        while True:
            await self._wake.wait()
            await trio.sleep(TELLING_PAUSE_S)
            self._wake = trio.Event()
            if self._finishing or self.gone:
                continue
            try:
                self.seen = await self._look()
            except RuntimeGone:
                continue
            self._tell(self._circumstances(), self._waits, finish=False, passing=True)

    async def _perform(self, action: Action) -> bool:
        """Whether the rest of the plan still makes sense."""
        performer, asked = self._tools.performer, self.pod or {}
        try:
            if isinstance(action, PrepareVolumes) and self.pod is not None:
                await self._build_volumes(self.pod)
            else:
                await performer.perform(action, self.uid, self.pod, self.seen)
                if isinstance(action, ResizeContainer):
                    self._applied.give(asked, action.id, action.name)
                self._setbacks.recovered(getattr(action, "name", SANDBOX))
        except ActionFailed as exc:
            self._setbacks.failed(exc)
            return exc.name not in (SANDBOX, VOLUMES)
        except (RuntimeFailure, OSError) as exc:
            pause_s = self._setbacks.put_off(STEP)
            log.warning("step failed", pod=self._name(), step=type(action).__name__, error=exc, retry_s=pause_s)
            return False
        return True

    def _finish(self) -> None:
        if self.pod is not None:
            self._finishing = True
            self._tools.publisher.say(self.pod, self._said, finish=True)

    async def _build_volumes(self, pod: Object) -> None:
        await self._volumes.build(self._tools.performer.prepare_volumes(pod, self.seen))
        self._setbacks.recovered(VOLUMES)

    async def _refresh_volumes(self) -> bool:
        """Bring volumes up to date where that is due; what fails is tried again later, the containers go on."""
        if self._volumes.left_s > 0 or self.pod is None or not self.seen.alive:
            return False
        with trio.CancelScope() as self._scope:  # what hangs on a driver or a server does not hold up the pod's end
            try:
                await self._build_volumes(self.pod)
            except ActionFailed:
                self._volumes.put_off(self._setbacks.pause_s(VOLUMES))
        self._scope = None
        return True

    def _next_look(self, waits: Sequence[Wait]) -> float:
        """In how many seconds: times of the plan are those of the calendar, our own are not, for that may jump."""
        today = wallclock.now()
        pauses = [wait.until - today for wait in waits]
        if self.seen.alive:
            pauses.append(self._volumes.left_s)
        if self._setbacks.left_s:
            pauses.append(self._setbacks.left_s)
        return min(pauses, default=float("inf"))

    async def _sleep(self, seconds: float) -> None:
        if seconds <= 0:
            await trio.lowlevel.checkpoint()
            return
        with trio.move_on_after(seconds) as waiting:
            await self._wake.wait()
        if waiting.cancelled_caught:
            self._look_due = True

    def _interrupt(self) -> None:
        if self._scope is not None:
            self._scope.cancel()

    def _name(self) -> str:
        return objects.key(self.pod) if self.pod is not None else self.uid


def _labels(pod: Object) -> tuple[object, object]:
    return objects.labels(pod), objects.annotations(pod)


def _more_urgent(before: Object, now: Object, *, killing: bool) -> bool:
    """Whether what is being done now should be dropped: the pod is to end, or to end sooner."""
    if killing:
        return lifecycle.grace_s(now) < lifecycle.grace_s(before)
    return objects.is_deleting(now) and not objects.is_deleting(before)
