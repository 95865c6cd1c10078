"""Reading an API object: metadata, owners, conditions. An object is the plain dict that its JSON decodes to."""

from typing import Any

Object = dict[str, Any]


def metadata(obj: Object) -> dict[str, Any]:
    found: dict[str, Any] = obj.setdefault("metadata", {})
    return found


def name(obj: Object) -> str:
    return str((obj.get("metadata") or {}).get("name") or "")


def namespace(obj: Object) -> str:
    return str((obj.get("metadata") or {}).get("namespace") or "")


def key(obj: Object) -> str:
    """``namespace/name``, or ``name`` for what lives in no namespace: the key that informers and work queues use."""
    ns = namespace(obj)
    return f"{ns}/{name(obj)}" if ns else name(obj)


def split_key(key: str) -> tuple[str, str]:
    """The opposite of ``key``: ``(namespace, name)``."""
    ns, _, last = key.rpartition("/")
    return ns, last


def uid(obj: Object) -> str:
    return str((obj.get("metadata") or {}).get("uid") or "")


def revision(obj: Object) -> str:
    """``metadata.resourceVersion``: opaque to everybody but the store."""
    return str((obj.get("metadata") or {}).get("resourceVersion") or "")


def labels(obj: Object) -> dict[str, str]:
    return (obj.get("metadata") or {}).get("labels") or {}


def annotations(obj: Object) -> dict[str, str]:
    return (obj.get("metadata") or {}).get("annotations") or {}


def finalizers(obj: Object) -> list[str]:
    return (obj.get("metadata") or {}).get("finalizers") or []


def owners(obj: Object) -> list[dict[str, Any]]:
    return (obj.get("metadata") or {}).get("ownerReferences") or []


def controller_of(obj: Object) -> dict[str, Any] | None:
    """The one owner reference with ``controller: true``."""
    return next((owner for owner in owners(obj) if owner.get("controller")), None)


def controller_reference(owner: Object, api_version: str, kind: str) -> dict[str, Any]:
    """A reference that makes ``owner`` the controller of the object that carries it."""
    return {
        "apiVersion": api_version,
        "kind": kind,
        "name": name(owner),
        "uid": uid(owner),
        "controller": True,
        "blockOwnerDeletion": True,
    }


def is_deleting(obj: Object) -> bool:
    return bool((obj.get("metadata") or {}).get("deletionTimestamp"))


def condition(obj: Object, type_: str) -> dict[str, Any] | None:
    return next((c for c in (obj.get("status") or {}).get("conditions") or () if c.get("type") == type_), None)


def condition_is(obj: Object, type_: str, status: str = "True") -> bool:
    found = condition(obj, type_)
    return found is not None and found.get("status") == status
