"""Pods from a template: how they look, and how many are tried at once."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

import orjson
import trio

from edgek.client.transport import Disconnected
from edgek.model import errors, objects
from edgek.model.kinds import Kind
from edgek.model.objects import Object

BURST = 500  # pods that one reconcile of one object creates or deletes at most
ALPHABET = "bcdfghjklmnpqrstvwxz2456789"  # upstream's: no vowels, so no words

T = TypeVar("T")


def from_template(template: Object, owner: Object, kind: Kind, *, labels: dict[str, str] | None = None) -> Object:
    """A new Pod of ``owner``, named after it."""
    meta = template.get("metadata") or {}
    made: dict[str, Any] = {
        "generateName": f"{objects.name(owner)}-",
        "namespace": objects.namespace(owner),
        "labels": {**(meta.get("labels") or {}), **(labels or {})},
        "annotations": dict(meta.get("annotations") or {}),
        "finalizers": list(meta.get("finalizers") or ()),
        "ownerReferences": [objects.controller_reference(owner, kind.api_version, kind.name)],
    }
    spec: Object = orjson.loads(orjson.dumps(template.get("spec") or {}))
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {key: value for key, value in made.items() if value}, "spec": spec}


def hash_of(template: Any, collisions: int = 0) -> str:
    """A short name for a template, the same for equal ones."""
    text = orjson.dumps([template, collisions], option=orjson.OPT_SORT_KEYS)
    number = int.from_bytes(hashlib.blake2b(text, digest_size=4).digest(), "big")
    return "".join(ALPHABET[ord(digit) % len(ALPHABET)] for digit in str(number))


Failure = errors.ApiError | Disconnected


async def slow_start(count: int, make: Callable[[int], Awaitable[Any]]) -> tuple[int, Failure | None]:
    """Make 1, then 2, 4, 8 ... at once, and stop after the first round with a failure: what cannot be made is not tried five hundred times.

    How many were made, and the first failure.
    """
    made, size = 0, 1
    while made < count:
        size = min(size, count - made)
        results = await together([functools.partial(make, index) for index in range(made, made + size)])
        failures = [each for each in results if each is not None]
        made += size - len(failures)
        if failures:
            return made, failures[0]
        size *= 2
    return made, None


async def together(jobs: Sequence[Callable[[], Awaitable[Any]]]) -> list[Failure | None]:
    """Run all at once; for each, how it failed."""
    results: list[Failure | None] = [None] * len(jobs)

    async def run(index: int) -> None:
        try:
            await jobs[index]()
        except (errors.ApiError, Disconnected) as exc:
            results[index] = exc

    async with trio.open_nursery() as nursery:
        for index in range(len(jobs)):
            nursery.start_soon(run, index)
    return results


def is_terminating_namespace(failure: Failure | None) -> bool:
    """The namespace is on its way out: creating in it is neither possible nor an error."""
    return isinstance(failure, errors.Forbidden) and any(cause.reason == "NamespaceTerminating" for cause in failure.causes)
