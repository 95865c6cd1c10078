"""Which PersistentVolume suits a claim: the smallest that is large enough. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from edgek.model import objects, quantity, selectors
from edgek.model.local_storage import is_being_made
from edgek.model.objects import Object
from edgek.server.controllers import placement
from edgek.server.controllers.placement import Place

BETA_CLASS = "volume.beta.kubernetes.io/storage-class"


def best(claim: Object, volumes: Iterable[Object], node: Place | None, *, only_held: bool) -> Object | None:
    """A volume that is held for this claim, whatever its class, or else free and fitting.

    ``only_held``: the claim still waits for its first consumer. ``node``: where that consumer will run.
    """
    volumes = [each for each in volumes if not objects.is_deleting(each) and not is_being_made(each)]
    held = next((each for each in volumes if is_held_for(each, claim) and _holds(claim, each)), None)
    if held is not None or only_held:
        return held
    free = [each for each in volumes if _is_free(each) and not misfit(claim, each) and _selected(claim, each) and reaches(each, node)]
    return min(free, key=lambda each: (capacity(each), objects.name(each)), default=None)


def is_held_for(volume: Object, claim: Object) -> bool:
    """Its claimRef names this claim, and no other of that name."""
    reference = (volume.get("spec") or {}).get("claimRef") or {}
    same = reference.get("name") == objects.name(claim) and reference.get("namespace") == objects.namespace(claim)
    return same and reference.get("uid") in (None, "", objects.uid(claim))


def misfit(claim: Object, volume: Object) -> str:
    """Why the claim cannot have it, in upstream's words; empty when it can."""
    if capacity(volume) < requested(claim):
        return "requested PV is too small"
    if storage_class(claim) != storage_class(volume):
        return "storageClassName does not match"
    if _mode(claim) != _mode(volume):
        return "incompatible volumeMode"
    if not set(claim["spec"].get("accessModes") or ()) <= set(volume["spec"].get("accessModes") or ()):
        return "incompatible accessMode"
    return ""


def storage_class(obj: Object) -> str:
    """Of a claim or a volume; the annotation is how it was said before there was a field."""
    spec = obj.get("spec") or {}
    return str(objects.annotations(obj).get(BETA_CLASS) or spec.get("storageClassName") or "")


def capacity(volume: Object) -> int:
    return _nanos((volume["spec"].get("capacity") or {}).get("storage"))


def requested(claim: Object) -> int:
    return _nanos(((claim["spec"].get("resources") or {}).get("requests") or {}).get("storage"))


def reaches(volume: Object, node: Place | None) -> bool:
    required = (volume["spec"].get("nodeAffinity") or {}).get("required")
    if node is None or required is None:
        return True
    return any(placement.matches(term, node) for term in required.get("nodeSelectorTerms") or ())


def allows(storage_class: Object, labels: Mapping[str, str]) -> bool:
    """Whether the class makes volumes where a node with these labels is: any of its allowedTopologies fits."""
    terms = storage_class.get("allowedTopologies") or ()
    return not terms or any(
        all(labels.get(each.get("key", "")) in (each.get("values") or ()) for each in term.get("matchLabelExpressions") or ()) for term in terms
    )


def _holds(claim: Object, volume: Object) -> bool:
    """What even a volume that is held for the claim must be."""
    return capacity(volume) >= requested(claim) and _mode(claim) == _mode(volume)


def _mode(obj: Object) -> str:
    return str((obj.get("spec") or {}).get("volumeMode") or "Filesystem")


def _is_free(volume: Object) -> bool:
    return not volume["spec"].get("claimRef") and (volume.get("status") or {}).get("phase") == "Available"


def _selected(claim: Object, volume: Object) -> bool:
    selector = claim["spec"].get("selector")
    try:
        return selector is None or selectors.of_dict(selector).matches(objects.labels(volume))
    except selectors.SelectorError:
        return False


def _nanos(text: Any) -> int:
    return quantity.parse(str(text)).nanos if text else 0
