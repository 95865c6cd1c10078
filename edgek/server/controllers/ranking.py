"""Which pods go first when there are too many: those that are missed least. Upstream's order."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence

from edgek.server.controllers.views import PodView

PHASES = {"Pending": 0, "Unknown": 1, "Running": 2}


def to_delete(pods: Sequence[PodView], related_nodes: Iterable[str], now: float) -> list[PodView]:
    """All of ``pods``, the first to go first. ``related_nodes`` names the node of each related pod, once per pod."""
    crowd = Counter(related_nodes)

    def rank(pod: PodView) -> tuple[bool, int, bool, int, int, int, int, int, str]:
        return (
            bool(pod.node),
            PHASES.get(pod.phase, 0),
            pod.ready,
            pod.deletion_cost,
            -crowd[pod.node],
            _age(now - pod.ready_since) if pod.ready else 0,
            -pod.restarts,
            _age(now - pod.created),
            pod.uid,
        )

    return sorted(pods, key=rank)


def _age(seconds: float) -> int:
    """Ages count by their order of magnitude, so that among pods of about the same age the uid, that is chance, decides."""
    return int(math.log2(seconds)) if seconds >= 1 else -1
