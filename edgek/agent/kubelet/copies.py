"""The node's own copy of what it needs to start its pods when no server can be reached: the pods, and the objects they refer to.

Written only when one of them changes, readable only for root. A pod that has ended is not kept: it must not start again.
"""

from __future__ import annotations

from pathlib import Path

import orjson

from edgek.agent.kubelet import lifecycle
from edgek.host import files, log
from edgek.model import objects
from edgek.model.kinds import Kind
from edgek.model.objects import Object

MODE = 0o600
VOLATILE = ("resourceVersion", "managedFields", "generation")


class Copies:
    """``folder`` is made when there is something to keep."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._written: dict[Path, bytes] = {}  # what is known to be on the disk

    def keep_pod(self, pod: Object) -> None:
        if lifecycle.ended(pod) or objects.is_deleting(pod):
            self.drop_pod(objects.uid(pod))
            return
        start = (pod.get("status") or {}).get("startTime")
        self._keep(self._pod_file(objects.uid(pod)), {**_lasting(pod), "status": {"startTime": start} if start else {}})

    def drop_pod(self, uid: str) -> None:
        self._drop(self._pod_file(uid))

    def pods(self) -> list[Object]:
        found = (self._read(file) for file in sorted(self._folder.glob("pods/*.json")))
        return [pod for pod in found if pod is not None]

    def keep_object(self, kind: Kind, obj: Object) -> None:
        self._keep(self._object_file(kind, objects.namespace(obj), objects.name(obj)), _lasting(obj) | {"kind": kind.name})

    def drop_object(self, kind: Kind, namespace: str, name: str) -> None:
        self._drop(self._object_file(kind, namespace, name))

    def find_object(self, kind: Kind, namespace: str, name: str) -> Object | None:
        return self._read(self._object_file(kind, namespace, name))

    def _keep(self, file: Path, obj: Object) -> None:
        raw = orjson.dumps(obj, option=orjson.OPT_SORT_KEYS)
        known = self._written.get(file)
        if known is None and file.exists():
            known = file.read_bytes()
        if known != raw:
            try:
                files.make_private(self._folder)
                files.write_atomically(file, raw, MODE)
            except OSError as exc:
                log.warning("cannot keep a copy for times without a server", file=file, error=exc)
                return
        self._written[file] = raw

    def _drop(self, file: Path) -> None:
        self._written.pop(file, None)
        file.unlink(missing_ok=True)

    def _read(self, file: Path) -> Object | None:
        try:
            found = orjson.loads(file.read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, orjson.JSONDecodeError) as exc:
            log.warning("a copy cannot be read", file=file, error=exc)
            return None
        return found if isinstance(found, dict) else None

    def _pod_file(self, uid: str) -> Path:
        return self._folder / "pods" / f"{uid}.json"

    def _object_file(self, kind: Kind, namespace: str, name: str) -> Path:
        return self._folder / "objects" / f"{kind.plural}_{namespace}_{name}.json"


def _lasting(obj: Object) -> Object:
    meta = {key: value for key, value in (obj.get("metadata") or {}).items() if key not in VOLATILE}
    return {**{key: value for key, value in obj.items() if key != "status"}, "metadata": meta}
