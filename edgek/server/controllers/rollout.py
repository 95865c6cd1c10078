"""The numbers of a Deployment's rollout: how large each ReplicaSet should be next.

Pure: given the Deployment and its ReplicaSets as they are seen, the size of each. ``deployment.py`` carries it out.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from edgek.model import objects
from edgek.model.objects import Object
from edgek.server.controllers.views import stamp

DESIRED = "deployment.kubernetes.io/desired-replicas"
MOST = "deployment.kubernetes.io/max-replicas"

Sizes = Mapping[str, int]  # by the name of a ReplicaSet


def wanted_replicas(obj: Object) -> int:
    return int(obj["spec"].get("replicas", 1))


def seen(replica_set: Object, count: str) -> int:
    """A count of a ReplicaSet's status; absent is 0."""
    return int((replica_set.get("status") or {}).get(count) or 0)


def total_wanted(replica_sets: Iterable[Object]) -> int:
    return sum(map(wanted_replicas, replica_sets))


def total_seen(replica_sets: Iterable[Object], count: str) -> int:
    return sum(seen(each, count) for each in replica_sets)


def is_rolling(deployment: Object) -> bool:
    return str((deployment["spec"].get("strategy") or {}).get("type") or "RollingUpdate") == "RollingUpdate"


def scaled(value: Any, total: int, *, up: bool) -> int:
    """An int, or a percentage of ``total``, rounded up or down."""
    if isinstance(value, str) and value.endswith("%"):
        share = int(value[:-1]) * total
        return -(-share // 100) if up else share // 100
    return int(value)


def fenceposts(deployment: Object) -> tuple[int, int]:
    """(maxSurge, maxUnavailable) in pods; never both zero, or nothing could move."""
    rolling = (deployment["spec"].get("strategy") or {}).get("rollingUpdate") or {}
    total = wanted_replicas(deployment)
    surge = scaled(rolling.get("maxSurge", "25%"), total, up=True)
    unavailable = scaled(rolling.get("maxUnavailable", "25%"), total, up=False)
    return (surge, unavailable) if surge or unavailable else (0, 1)


def max_surge(deployment: Object) -> int:
    return fenceposts(deployment)[0] if is_rolling(deployment) else 0


def max_unavailable(deployment: Object) -> int:
    if not is_rolling(deployment) or wanted_replicas(deployment) == 0:
        return 0
    return min(fenceposts(deployment)[1], wanted_replicas(deployment))


def new_size(deployment: Object, everything: Sequence[Object], current: int) -> int:
    """The next size of the newest ReplicaSet, which has ``current`` replicas now."""
    total = wanted_replicas(deployment)
    if not is_rolling(deployment) or current >= total:
        return total
    room = total + max_surge(deployment) - total_wanted(everything)
    return current if room <= 0 else current + min(room, total - current)


def old_sizes(deployment: Object, newest: Object, old: Sequence[Object]) -> Sizes:
    """The next sizes of old ReplicaSets: first those pods go that serve nobody, then as many as availability allows."""
    everything = [*old, newest]
    least_available = wanted_replicas(deployment) - max_unavailable(deployment)
    still_starting = wanted_replicas(newest) - seen(newest, "availableReplicas")
    room = total_wanted(everything) - least_available - still_starting
    sizes = {objects.name(each): wanted_replicas(each) for each in old}
    if room <= 0:
        return sizes
    removed = 0
    for each in by_age(old):
        spare = min(room - removed, max(0, wanted_replicas(each) - seen(each, "availableReplicas")))
        sizes[objects.name(each)] -= spare
        removed += spare
    room = total_seen(everything, "availableReplicas") - least_available
    for each in by_age(old):
        spare = min(max(room, 0), sizes[objects.name(each)])
        sizes[objects.name(each)] -= spare
        room -= spare
    return sizes


def proportional_sizes(deployment: Object, active: Sequence[Object]) -> Sizes:
    """A Deployment that is scaled amid a rollout spreads the difference over its ReplicaSets, the larger the more."""
    allowed = wanted_replicas(deployment) + max_surge(deployment) if wanted_replicas(deployment) else 0
    difference = allowed - total_wanted(active)
    ordered = _by_size(active, newest_first=difference > 0)
    sizes = {objects.name(each): wanted_replicas(each) for each in ordered}
    if not difference:
        return sizes
    added = 0
    for each in ordered:
        share = _share(each, deployment, difference, added)
        sizes[objects.name(each)] += share
        added += share
    if ordered:
        first = objects.name(ordered[0])
        sizes[first] = max(0, sizes[first] + difference - added)
    return sizes


def is_saturated(deployment: Object, newest: Object | None) -> bool:
    """The newest ReplicaSet alone does what is wanted."""
    if newest is None:
        return False
    total = wanted_replicas(deployment)
    return wanted_replicas(newest) == total and objects.annotations(newest).get(DESIRED) == str(total) and seen(newest, "availableReplicas") == total


def by_age(replica_sets: Iterable[Object]) -> list[Object]:
    """The oldest first."""
    return sorted(replica_sets, key=lambda each: (stamp(objects.metadata(each).get("creationTimestamp")), objects.name(each)))


def _by_size(replica_sets: Sequence[Object], *, newest_first: bool) -> list[Object]:
    aged = by_age(replica_sets)
    if newest_first:
        aged.reverse()
    return sorted(aged, key=wanted_replicas, reverse=True)


def _share(replica_set: Object, deployment: Object, difference: int, added: int) -> int:
    if wanted_replicas(replica_set) == 0 or difference == added:
        return 0
    share, left = _fraction(replica_set, deployment), difference - added
    return min(share, left) if difference > 0 else max(share, left)


def _fraction(replica_set: Object, deployment: Object) -> int:
    size = wanted_replicas(replica_set)
    if wanted_replicas(deployment) == 0:
        return -size
    most = wanted_replicas(deployment) + max_surge(deployment)
    before = objects.annotations(replica_set).get(MOST, "")
    former_most = int(before) if before.isdecimal() and int(before) else int((deployment.get("status") or {}).get("replicas") or most)
    return math.floor(size * most / former_most + 0.5) - size
