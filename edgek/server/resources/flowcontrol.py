"""Flow schemas and priority levels: stored and shown, so that clients which manage them find them. edgek itself queues otherwise."""

from __future__ import annotations

from edgek.model import kinds
from edgek.model.objects import Object
from edgek.server.resources.base import Resource
from edgek.server.resources.pod_defaults import fill_members

DEFAULT_PRECEDENCE = 1000
DEFAULT_SHARES = 30
_QUEUING = {"queues": 64, "handSize": 8, "queueLengthLimit": 50}


class FlowSchema(Resource):
    generation_of = ("spec",)

    def __init__(self) -> None:
        super().__init__(kinds.FLOW_SCHEMA)

    def default(self, obj: Object) -> None:
        spec = obj.setdefault("spec", {})
        if not spec.get("matchingPrecedence"):
            spec["matchingPrecedence"] = DEFAULT_PRECEDENCE


class PriorityLevelConfiguration(Resource):
    generation_of = ("spec",)

    def __init__(self) -> None:
        super().__init__(kinds.PRIORITY_LEVEL_CONFIGURATION)

    def default(self, obj: Object) -> None:
        spec = obj.get("spec") or {}
        if (limited := spec.get("limited")) is not None:
            fill_members(limited, {"nominalConcurrencyShares": DEFAULT_SHARES, "lendablePercent": 0})
            queuing = (limited.get("limitResponse") or {}).get("queuing")
            if queuing is not None:
                queuing |= {name: queuing.get(name) or value for name, value in _QUEUING.items()}
        if (exempt := spec.get("exempt")) is not None:
            fill_members(exempt, {"nominalConcurrencyShares": 0, "lendablePercent": 0})
