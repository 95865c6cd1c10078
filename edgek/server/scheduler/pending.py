"""The pods that wait for a node: those to be tried now, in order, and those that wait for something to change.

Pure bookkeeping: nothing here waits or talks to the API.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Collection

import attrs

from edgek.server.scheduler.rules import RULES, Wake
from edgek.server.scheduler.views import Pod

GATES = "SchedulingGates"  # parked for these, nothing helps but a change of the pod itself
WAKES: dict[str, frozenset[Wake]] = {**{rule.name: rule.wakes for rule in RULES}, GATES: frozenset()}
ALL_WAKES: frozenset[Wake] = frozenset({"node", "pod gone", "pod placed", "volume", "namespace"})


@attrs.define
class Pending:
    """Pods by uid. The next to be tried is the one of highest priority, among equals the oldest."""

    _pods: dict[str, Pod] = attrs.field(factory=dict)
    _ready: list[tuple[int, str, str]] = attrs.field(factory=list)
    _queued: set[str] = attrs.field(factory=set)
    _parked: dict[str, frozenset[Wake]] = attrs.field(factory=dict)

    def put(self, pod: Pod) -> None:
        """New, or changed: to be tried (again)."""
        self._pods[pod.uid] = pod
        self._parked.pop(pod.uid, None)
        self._queue(pod)

    def refresh(self, pod: Pod) -> None:
        """Another view of a pod that is here, with nothing in it that would be a reason to try again."""
        if pod.uid in self._pods:
            self._pods[pod.uid] = pod

    def drop(self, uid: str) -> None:
        """Placed, gone, or not ours any more."""
        self._pods.pop(uid, None)
        self._parked.pop(uid, None)
        self._queued.discard(uid)

    def pop(self) -> Pod | None:
        """The next pod to try; it is forgotten here until it is put or parked again."""
        while self._ready:
            _, _, uid = heapq.heappop(self._ready)
            if uid in self._queued:
                self._queued.discard(uid)
                return self._pods.pop(uid)
        return None

    def park(self, pod: Pod, rules: Collection[str]) -> None:
        """Nothing for it now: wait until something happens that one of these rules cares about (without rules, anything)."""
        if pod.uid not in self._queued:
            self._pods[pod.uid] = pod
            self._parked[pod.uid] = frozenset().union(*(WAKES[rule] for rule in rules)) if rules else ALL_WAKES

    def wake(self, happened: Wake, concerned: Callable[[Pod], bool] = lambda pod: True) -> bool:
        """Pods that wait for this, and are concerned, are to be tried; were there any?"""
        woken = [uid for uid, wakes in self._parked.items() if happened in wakes and concerned(self._pods[uid])]
        for uid in woken:
            del self._parked[uid]
            self._queue(self._pods[uid])
        return bool(woken)

    def __contains__(self, uid: str) -> bool:
        return uid in self._pods

    def _queue(self, pod: Pod) -> None:
        if pod.uid not in self._queued:
            self._queued.add(pod.uid)
            heapq.heappush(self._ready, (-pod.priority, pod.created, pod.uid))
