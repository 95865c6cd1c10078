"""Which class is the default one, for what names none: of StorageClasses, and of IngressClasses, which are marked in the same way."""

from __future__ import annotations

from collections.abc import Iterable

from edgek.model import objects
from edgek.model.objects import Object

STORAGE = ("storageclass.kubernetes.io/is-default-class", "storageclass.beta.kubernetes.io/is-default-class")
INGRESS = ("ingressclass.kubernetes.io/is-default-class",)


def newest_default(classes: Iterable[Object], annotations: tuple[str, ...]) -> str:
    """The name of the class that one of the annotations marks; of several the newest, then the first by name. Empty when there is none."""
    marked = [each for each in classes if any(objects.annotations(each).get(annotation) == "true" for annotation in annotations)]
    marked.sort(key=objects.name)
    marked.sort(key=lambda each: str(objects.metadata(each).get("creationTimestamp", "")), reverse=True)
    return objects.name(marked[0]) if marked else ""
