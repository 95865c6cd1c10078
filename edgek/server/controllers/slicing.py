"""Carrying out a plan for EndpointSlices, for the two controllers that make some."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence

from edgek.client.informer import Informer
from edgek.client.reconcile import Cluster
from edgek.model import kinds, objects
from edgek.model.objects import Object
from edgek.server.controllers import slices, views


def cache(cluster: Cluster) -> Informer[Object]:
    """All EndpointSlices, to be found by their Service."""
    informer = cluster.informers.of(kinds.ENDPOINT_SLICE, views.whole)
    informer.add_index("service", service_index)
    return informer


def service_index(slice_: Object) -> tuple[str, ...]:
    name = objects.labels(slice_).get(slices.SERVICE_NAME)
    return (f"{objects.namespace(slice_)}/{name}",) if name else ()


def managed(informer: Informer[Object], key: str, by: str) -> list[Object]:
    """The slices of a Service that this controller made, the oldest first."""
    mine = [each for each in informer.by_index("service", key) if objects.labels(each).get(slices.MANAGED_BY) == by]
    return sorted(
        (each for each in mine if not objects.is_deleting(each)), key=lambda each: (objects.metadata(each)["creationTimestamp"], objects.name(each))
    )


def keys_of_slice(by: str, old: Object | None, new: Object | None) -> Iterable[str]:
    for each in filter(None, (old, new)):
        if objects.labels(each).get(slices.MANAGED_BY) == by:
            yield from service_index(each)


async def carry_out(
    cluster: Cluster,
    informer: Informer[Object],
    existing: Sequence[Object],
    wanted: Sequence[tuple[slices.Frame, Mapping[slices.Ports, Sequence[slices.Endpoint]]]],
) -> None:
    """``wanted`` by family; slices of families that are not wanted any more go."""
    families = {frame.family for frame, _ in wanted}
    doomed = [each for each in existing if each["addressType"] not in families]
    for frame, endpoints in wanted:
        made = slices.plan(frame, [each for each in existing if each["addressType"] == frame.family], endpoints)
        for each in made.create:
            await cluster.create(informer, each)
        for each in made.update:
            await cluster.update(informer, each)
        doomed += made.delete
    for each in doomed:
        await cluster.delete(informer, objects.key(each), objects.uid(each))
        await informer.until(functools.partial(_is_gone, informer, each))


def _is_gone(informer: Informer[Object], slice_: Object) -> bool:
    seen = informer.get(objects.key(slice_))
    return seen is None or objects.uid(seen) != objects.uid(slice_) or objects.is_deleting(seen)
