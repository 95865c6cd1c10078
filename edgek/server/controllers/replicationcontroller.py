"""ReplicationControllers: ReplicaSets of an older shape, whose selector is a plain map."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from edgek.model import kinds, selectors
from edgek.model.kinds import Kind
from edgek.model.objects import Object
from edgek.model.selectors import LabelSelector
from edgek.server.controllers.podmaking import Failure
from edgek.server.controllers.replicaset import ReplicaSetController
from edgek.server.controllers.views import PodView


class ReplicationControllerController(ReplicaSetController):
    name: ClassVar[str] = "replicationcontroller"
    account: ClassVar[str] = "replication-controller"
    component: ClassVar[str] = "replication-controller"
    kind: ClassVar[Kind] = kinds.REPLICATION_CONTROLLER

    def selector(self, wanted: Object) -> LabelSelector:
        labels = wanted["spec"].get("selector")
        return selectors.of_labels(labels) if labels else selectors.NOTHING

    def status(self, wanted: Object, pods: Sequence[PodView], failure: Failure | None, now: float) -> dict[str, Any]:
        return self._counts(wanted, [pod for pod in pods if pod.active], failure, now)
