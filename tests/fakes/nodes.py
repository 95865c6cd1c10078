"""A scheduler and nodes that run pods without containers: bound at once, running and ready at once, gone once asked.

``outcome`` says what becomes of a pod: "run", "succeed", "fail", or "hang" (it is bound but never starts).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import attrs

from edgek.client.client import Client
from edgek.client.reconcile import Cluster, Watch, own_key
from edgek.host import wallclock
from edgek.model import errors, kinds, objects
from edgek.model.objects import Object


def whole_pod(obj: Object) -> Object:
    return obj


@attrs.define
class PodRunner:
    """As a Controller, so that it works from a watch like the real ones."""

    cluster: Cluster
    nodes: list[str] = attrs.field(factory=lambda: ["node-1"])
    outcome: Callable[[Object], str] = lambda pod: "run"
    stops: bool = True  # pods that are being deleted come to an end
    name = "pod-runner"
    workers = 4
    _addresses: Any = attrs.field(factory=lambda: itertools.count(2))

    @property
    def pods(self) -> Any:
        return self.cluster.informers.of(kinds.POD, whole_pod)

    def watches(self) -> list[Watch]:
        return [Watch(self.pods, own_key)]

    async def reconcile(self, key: str) -> float | None:
        pod = self.pods.get(key)
        if pod is None:
            return None
        client, (namespace, name) = self.cluster.client, objects.split_key(key)
        phase = pod["status"].get("phase")
        if objects.is_deleting(pod):
            if not self.stops:
                return None
            if not objects.finalizers(pod) and pod["spec"].get("nodeName"):
                await self.cluster.delete(self.pods, key, objects.uid(pod), grace_s=0)
            elif phase in ("Pending", "Running") and pod["spec"].get("nodeName"):
                await self._report(client, pod, "Failed")
        elif not pod["spec"].get("nodeName"):
            node = self._node_for(pod)
            if node:
                body = {"kind": "Binding", "metadata": {"name": name}, "target": {"kind": "Node", "name": node}}
                await client.create(kinds.POD, body, namespace, name=name, subresource="binding")
        elif phase == "Pending":
            wanted = self.outcome(pod)
            if wanted != "hang":
                await self._report(client, pod, {"run": "Running", "succeed": "Succeeded", "fail": "Failed"}[wanted])
        return None

    def _node_for(self, pod: Object) -> str:
        affinity = pod["spec"].get("affinity", {}).get("nodeAffinity", {}).get("requiredDuringSchedulingIgnoredDuringExecution", {})
        for term in affinity.get("nodeSelectorTerms") or ():
            for field in term.get("matchFields") or ():
                return str(field["values"][0])
        counts = dict.fromkeys(self.nodes, 0)
        for other in self.pods.items.values():
            if other["spec"].get("nodeName") in counts:
                counts[other["spec"]["nodeName"]] += 1
        return min(self.nodes, key=lambda node: counts[node], default="")

    async def _report(self, client: Client, pod: Object, phase: str) -> None:
        ready = "True" if phase == "Running" else "False"
        address = (pod["status"].get("podIP") or _address(next(self._addresses))) if phase == "Running" else pod["status"].get("podIP", "")
        status = {
            "phase": phase,
            "podIP": address,
            "podIPs": [{"ip": address}] if address else [],
            "conditions": [{"type": "Ready", "status": ready, "lastTransitionTime": wallclock.now_rfc3339()}],
        }
        try:
            await client.patch(kinds.POD, objects.name(pod), {"status": status}, objects.namespace(pod), subresource="status")
        except errors.NotFound:
            return


def _address(number: int) -> str:
    return f"10.42.{number // 250}.{number % 250}"
