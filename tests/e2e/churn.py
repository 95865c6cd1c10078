"""Writers that keep a cluster busy while it is killed, and remember what they were promised.

``Ledger`` writes ConfigMaps and holds the server to every acknowledged one; ``Workloads`` keeps changing its mind about two Deployments, and knows
what it wants of them in the end. Both are given their randomness.
"""

from __future__ import annotations

import random
import threading
from typing import Any

from tests.e2e.cluster import is_ready
from tests.e2e.direct import CONFIG_MAPS, DEPLOYMENTS, PODS, Direct, Refused, Unanswered, revision

IMAGES = ("nginx:1.27", "nginx:1.28")
MOST_REPLICAS = 3
NAMES = 8  # ConfigMaps that are written again and again
PAUSE_S = 0.01  # between two writes: the disk is shared with what is tested


def deployment(name: str, replicas: int, image: str, *, grace_s: int = 1, **more: Any) -> dict[str, Any]:
    container = {
        "name": "c",
        "image": image,
        "readinessProbe": {"httpGet": {"path": "/", "port": 80}, "periodSeconds": 1, "timeoutSeconds": 5},
        **more,
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": {"metadata": {"labels": {"app": name}}, "spec": {"terminationGracePeriodSeconds": grace_s, "containers": [container]}},
        },
    }


class Ledger:
    """One writer of ConfigMaps. ``promised`` holds, for each name, the number last acknowledged (None: its deletion was)."""

    def __init__(self, direct: Direct, seed: int) -> None:
        self._direct = direct
        self._random = random.Random(seed)
        self._enough = threading.Event()
        self._thread: threading.Thread | None = None
        self._count = 0
        self.promised: dict[str, int | None] = {}
        self.attempted: dict[str, set[int | None]] = {}
        self.highest = 0
        self.acknowledged = 0
        self.broken: list[str] = []

    def start(self) -> None:
        self._enough.clear()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._enough.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        while not self._enough.wait(PAUSE_S):
            try:
                self._write(f"entry-{self._random.randrange(NAMES)}")
            except Unanswered:
                continue
            except Refused as refusal:
                if refusal.status not in (404, 409, 503):  # an attempt that did go through leaves these behind it
                    self.broken.append(str(refusal))

    def _write(self, name: str) -> None:
        self._count += 1
        wanted: int | None = self._count
        there = any(self.possible(name)) if name in self.promised or name in self.attempted else False
        if there and self._random.random() < 0.15:
            wanted = None
        self.attempted.setdefault(name, set()).add(wanted)
        if wanted is None:
            answer = self._direct.delete(f"{CONFIG_MAPS}/{name}")
        elif there:
            answer = self._direct.merge(f"{CONFIG_MAPS}/{name}", {"data": {"number": str(wanted)}})
        else:
            answer = self._direct.create(CONFIG_MAPS, {"metadata": {"name": name}, "data": {"number": str(wanted)}})
        self._keep(name, wanted, answer)

    def _keep(self, name: str, wanted: int | None, answer: dict[str, Any]) -> None:
        self.promised[name] = wanted
        self.attempted[name] = set()
        self.acknowledged += 1
        if wanted is not None:
            if revision(answer) <= self.highest:
                self.broken.append(f"{name} was given revision {revision(answer)} after {self.highest}")
            self.highest = max(self.highest, revision(answer))

    def possible(self, name: str) -> set[int | None]:
        """What may be stored: what was acknowledged last, or what was tried since without an answer."""
        return {self.promised.get(name), *self.attempted.get(name, ())}

    def audit(self) -> None:
        """Compare with what is stored, and take that as the new start. Raises AssertionError."""
        found = self._direct.get(CONFIG_MAPS)
        stored: dict[str, int | None] = {
            obj["metadata"]["name"]: int(obj["data"]["number"]) for obj in found["items"] if obj["metadata"]["name"].startswith("entry-")
        }
        for name in {*self.promised, *self.attempted, *stored}:
            assert stored.get(name) in self.possible(name), f"{name} holds {stored.get(name)}, promised was {self.promised.get(name)}"
            self.promised[name], self.attempted[name] = stored.get(name), set()
        assert revision(found) >= self.highest, f"revisions went back: {revision(found)} after {self.highest}"
        self.highest = revision(found)
        assert self.broken == []


class Workloads:
    """Two Deployments that are scaled, rolled, deleted and made again."""

    def __init__(self, direct: Direct, seed: int, names: tuple[str, ...] = ("left", "right")) -> None:
        self._direct = direct
        self._random = random.Random(seed)
        self._wanted: dict[str, tuple[int, str] | None] = dict.fromkeys(names)

    def change(self) -> None:
        """One change of mind, as far as the server lets itself be told."""
        name = self._random.choice(list(self._wanted))
        replicas, image = self._random.randrange(MOST_REPLICAS + 1), self._random.choice(IMAGES)
        self._wanted[name] = None if self._random.random() < 0.2 else (replicas, image)
        self._tell(name)

    def insist(self) -> None:
        """Say again what is wanted: what was said to a dying server may not have been heard. Raises Unanswered."""
        for name in self._wanted:
            self._tell(name)

    def _tell(self, name: str) -> None:
        wanted = self._wanted[name]
        try:
            if wanted is None:
                self._direct.delete(f"{DEPLOYMENTS}/{name}")
            else:
                self._put(name, deployment(name, *wanted))
        except Refused as refusal:
            if refusal.status not in (404, 409):
                raise

    def _put(self, name: str, obj: dict[str, Any]) -> None:
        try:
            self._direct.create(DEPLOYMENTS, obj)
        except Refused as refusal:
            if refusal.status != 409:
                raise
            self._direct.merge(f"{DEPLOYMENTS}/{name}", {"spec": obj["spec"]})

    def settled(self) -> str:
        """What is not yet as wanted; empty when all is."""
        pods = [pod for pod in self._direct.get(PODS)["items"] if pod["metadata"]["labels"].get("app") in self._wanted]
        for name, wanted in self._wanted.items():
            mine = [pod for pod in pods if pod["metadata"]["labels"]["app"] == name]
            count, image = wanted or (0, "")
            if len(mine) != count:
                return f"{name}: {len(mine)} pods, {count} are wanted: {[(p['metadata']['name'], p['status'].get('phase')) for p in mine]}"
            for pod in mine:
                if not is_ready(pod) or pod["spec"]["containers"][0]["image"] != image:
                    return f"{pod['metadata']['name']} is not Ready with {image}: {pod['spec']['containers'][0]['image']} {pod['status']}"
        return ""
