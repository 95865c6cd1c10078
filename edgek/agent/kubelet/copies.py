"""The node's own copy of what it needs to start its pods when no server can be reached: the pods, and the objects they refer to.

Written only when one of them changes, readable only for root. A pod that has ended is not kept: it must not start again. Tokens, which change every
hour, are written when a pod gets its first one, at most every six hours after that, and when the node stops in good order.

A slow disk takes its time for a durable file, and 20 pods that start at once bring a hundred changes: they are written in a thread, the last one of
each file, all that have gathered meanwhile together.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import orjson
import trio

from edgek.agent.kubelet import lifecycle
from edgek.host import files, log
from edgek.host.worker import InLine, Worker
from edgek.model import objects
from edgek.model.kinds import Kind
from edgek.model.objects import Object

MODE = 0o600
LASTING = ("startTime", "podIP")  # of a pod's status: its deadline counts from the one, others know it by the other
FULL_RETRY_S = 60.0  # what could not be written is tried again
TOKEN_EVERY_S = 6 * 3600.0
VOLATILE = ("resourceVersion", "managedFields", "generation")


class Copies:
    """``folder`` is made when there is something to keep. What is kept or dropped is seen at once, and on the disk a moment later."""

    def __init__(self, folder: Path, worker: Worker | InLine | None = None) -> None:
        self._folder = folder
        self._worker = worker or Worker(1)
        self._known: dict[Path, bytes] = {}  # what is on the disk, or on its way there
        self._waiting: dict[Path, bytes | None] = {}  # what to write, and None for what to remove
        self._tokens: dict[str, dict[str, Object]] = {}  # of each pod, by what they are for
        self._tokens_at: dict[tuple[str, str], float] = {}  # when one was written
        self._complained = False
        self._work = trio.Event()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Bring to the disk what is kept, for ever; what is left when this ends is written then."""
        task_status.started()
        try:
            while True:
                with trio.move_on_after(FULL_RETRY_S if self._waiting else float("inf")):
                    await self._work.wait()
                self._work = trio.Event()
                batch = dict(self._waiting)
                self._written(batch, await self._worker.run(self._write, batch))
        finally:
            for uid, tokens in self._tokens.items():
                self._keep(self._token_file(uid), tokens)
            self.flush()

    def flush(self) -> None:
        """Bring to the disk what waits for it. Blocks."""
        batch = dict(self._waiting)
        self._written(batch, self._write(batch))

    def keep_pod(self, pod: Object) -> None:
        if lifecycle.ended(pod) or objects.is_deleting(pod):
            self.drop_pod(objects.uid(pod))
            return
        status = {key: value for key, value in (pod.get("status") or {}).items() if key in LASTING}
        self._keep(self._pod_file(objects.uid(pod)), {**_lasting(pod), "status": status})

    def drop_pod(self, uid: str) -> None:
        self._drop(self._pod_file(uid))
        self._drop(self._token_file(uid))
        self._tokens.pop(uid, None)
        self._tokens_at = {key: at for key, at in self._tokens_at.items() if key[0] != uid}

    def pods(self) -> list[Object]:
        folder = self._folder / "pods"
        there = {*folder.glob("*.json"), *(file for file in self._waiting if file.parent == folder)}
        found = (self._read(file) for file in sorted(there))
        return [pod for pod in found if pod is not None]

    def keep_object(self, kind: Kind, obj: Object) -> None:
        self._keep(self._object_file(kind, objects.namespace(obj), objects.name(obj)), _lasting(obj) | {"kind": kind.name})

    def drop_object(self, kind: Kind, namespace: str, name: str) -> None:
        self._drop(self._object_file(kind, namespace, name))

    def find_object(self, kind: Kind, namespace: str, name: str) -> Object | None:
        return self._read(self._object_file(kind, namespace, name))

    def keep_token(self, uid: str, what_for: str, token: Object) -> None:
        self._tokens.setdefault(uid, dict(self._read(self._token_file(uid)) or {}))[what_for] = token
        now = trio.current_time()
        if now - self._tokens_at.get((uid, what_for), float("-inf")) >= TOKEN_EVERY_S:
            self._tokens_at[uid, what_for] = now
            self._keep(self._token_file(uid), self._tokens[uid])

    def find_token(self, uid: str, what_for: str) -> Object | None:
        found = (self._read(self._token_file(uid)) or {}).get(what_for)
        return found if isinstance(found, dict) else None

    def _keep(self, file: Path, obj: Object) -> None:
        raw = orjson.dumps(obj, option=orjson.OPT_SORT_KEYS)
        known = self._known.get(file)
        if known is None and file not in self._waiting:
            known = _content(file)
        self._known[file] = raw
        if known != raw:
            self._waiting[file] = raw
            self._work.set()

    def _drop(self, file: Path) -> None:
        self._known.pop(file, None)
        self._waiting[file] = None
        self._work.set()

    def _write(self, batch: Mapping[Path, bytes | None]) -> list[Path]:
        """Blocks. What could not be written: a card that is full or went read-only stops no pod."""
        failed = []
        for file, raw in batch.items():
            try:
                if raw is None:
                    file.unlink(missing_ok=True)
                    continue
                files.make_private(self._folder)
                files.write_atomically(file, raw, MODE)
            except OSError as exc:
                if not self._complained:
                    log.warning("cannot keep or remove copies for times without a server", file=file, error=exc)
                self._complained = True
                failed.append(file)
        if self._complained and batch and not failed:
            log.info("copies for times without a server are kept again")
            self._complained = False
        return failed

    def _written(self, batch: Mapping[Path, bytes | None], failed: list[Path]) -> None:
        for file, raw in batch.items():
            if file not in failed and self._waiting.get(file) is raw:
                self._waiting.pop(file, None)

    def _read(self, file: Path) -> Object | None:
        try:
            raw = self._waiting[file] if file in self._waiting else file.read_bytes()
            found = orjson.loads(raw) if raw is not None else None
        except FileNotFoundError:
            return None
        except (OSError, orjson.JSONDecodeError) as exc:
            log.warning("a copy cannot be read", file=file, error=exc)
            return None
        return found if isinstance(found, dict) else None

    def _pod_file(self, uid: str) -> Path:
        return self._folder / "pods" / f"{uid}.json"

    def _token_file(self, uid: str) -> Path:
        return self._folder / "tokens" / f"{uid}.json"

    def _object_file(self, kind: Kind, namespace: str, name: str) -> Path:
        return self._folder / "objects" / f"{kind.plural}_{namespace}_{name}.json"


def _content(file: Path) -> bytes | None:
    try:
        return file.read_bytes()
    except OSError:
        return None


def _lasting(obj: Object) -> Object:
    meta = {key: value for key, value in (obj.get("metadata") or {}).items() if key not in VOLATILE}
    return {**{key: value for key, value in obj.items() if key != "status"}, "metadata": meta}
