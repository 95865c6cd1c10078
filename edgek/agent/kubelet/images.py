"""Images on the node: present, pulled, or why not."""

from __future__ import annotations

import base64
import binascii
import fnmatch
import re
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import attrs
import orjson
import trio

from edgek.agent.kubelet import lifecycle
from edgek.agent.kubelet.references import References
from edgek.agent.runtime.runtime import Image, RegistryAuth, Runtime, RuntimeFailure
from edgek.client.events import Recorder
from edgek.host import log, wallclock
from edgek.model import kinds, objects
from edgek.model.objects import Object

BACK_OFF_FIRST_S = 10.0
BACK_OFF_MOST_S = 300.0
PULLS_AT_ONCE = 3  # each unpacks with one core
REFERENCE = re.compile(
    r"(?:[a-zA-Z0-9](?:[a-zA-Z0-9.-]*[a-zA-Z0-9])?(?::[0-9]+)?/)?[a-z0-9]+(?:(?:\.|_{1,2}|-+)[a-z0-9]+)*"
    r"(?:/[a-z0-9]+(?:(?:\.|_{1,2}|-+)[a-z0-9]+)*)*(?::[\w][\w.-]{0,127})?(?:@[a-z0-9]+:[0-9a-fA-F]{32,})?"
)


class PullFailed(Exception):
    """``reason`` is what the container waits for, in the kubelet's words; ``retry_at`` when the next try makes sense."""

    def __init__(self, reason: str, message: str, retry_at: float) -> None:
        super().__init__(message)
        self.reason = reason
        self.retry_at = retry_at


@attrs.define
class _BackOff:
    until: float
    pause_s: float
    cause: str


class Images:
    def __init__(self, runtime: Runtime, references: References, recorder: Recorder) -> None:
        self._runtime = runtime
        self._references = references
        self._recorder = recorder
        self._locks: dict[str, trio.Lock] = {}
        self._pulls = trio.CapacityLimiter(PULLS_AT_ONCE)
        self._back_offs: dict[tuple[str, str], _BackOff] = {}
        self.changed: Callable[[], None] = lambda: None  # called after a pull
        self.last_used: dict[str, float] = {}  # by image id, for the collection of unused images

    async def ensure(self, pod: Object, container: Object) -> Image:
        """The container's image, by its pull policy. Raises PullFailed."""
        reference = str(container.get("image") or "")
        path = lifecycle.field_path(pod, str(container["name"]))
        if not REFERENCE.fullmatch(reference):
            message = f'Failed to apply default image tag "{reference}": couldn\'t parse image name "{reference}": invalid reference format'
            self._recorder.warning(kinds.POD, pod, "InspectFailed", message, field_path=path)
            raise PullFailed("InvalidImageName", message, wallclock.now() + BACK_OFF_MOST_S)
        policy = container.get("imagePullPolicy") or _default_policy(reference)
        async with self._alone_with(reference):
            if policy == "Always" and self._references.alone:
                policy = "IfNotPresent"  # an image that is here serves better than one that cannot be asked for
            found = None if policy == "Always" else await self._runtime.image(reference)
            if found is None and policy == "Never":
                message = f'Container image "{reference}" is not present with pull policy of Never'
                self._recorder.warning(kinds.POD, pod, "ErrImageNeverPull", message, field_path=path)
                raise PullFailed("ErrImageNeverPull", message, wallclock.now() + BACK_OFF_FIRST_S)
            if found is None:
                found = await self._pull(pod, reference, path)
            else:
                text = f'Container image "{reference}" already present on machine and can be accessed by the pod'
                self._recorder.normal(kinds.POD, pod, "Pulled", text, field_path=path)
        self.last_used[found.id] = wallclock.now()
        return found

    @asynccontextmanager
    async def _alone_with(self, reference: str) -> AsyncIterator[None]:
        """One at a time looks for an image and pulls it. Tags come and go for ever, so a lock goes with its last user."""
        lock = self._locks.setdefault(reference, trio.Lock())
        try:
            async with lock:
                yield
        finally:
            if not lock.locked() and self._locks.get(reference) is lock:
                del self._locks[reference]

    def forget(self, uid: str) -> None:
        for key in [key for key in self._back_offs if key[0] == uid]:
            del self._back_offs[key]

    async def _pull(self, pod: Object, reference: str, path: str) -> Image:
        key, now = (objects.uid(pod), reference), wallclock.now()
        waiting = self._back_offs.get(key)
        if waiting and lifecycle.ahead(waiting.until, now):
            text = f'Back-off pulling image "{reference}"'
            self._recorder.normal(kinds.POD, pod, "BackOff", text, field_path=path)
            self._recorder.warning(kinds.POD, pod, "Failed", "Error: ImagePullBackOff", field_path=path)
            raise PullFailed("ImagePullBackOff", f"{text}: ErrImagePull: {waiting.cause}", waiting.until)
        self._recorder.normal(kinds.POD, pod, "Pulling", f'Pulling image "{reference}"', field_path=path)
        auths = await self._auths(pod, reference)
        try:
            async with self._pulls:
                began = trio.current_time()
                image = await self._runtime.pull_image(reference, auths, namespace=objects.namespace(pod))
        except RuntimeFailure as exc:
            pause_s = min(waiting.pause_s * 2, BACK_OFF_MOST_S) if waiting else BACK_OFF_FIRST_S
            self._back_offs[key] = _BackOff(wallclock.now() + pause_s, pause_s, str(exc))
            self._recorder.warning(kinds.POD, pod, "Failed", f'Failed to pull image "{reference}": {exc}', field_path=path)
            self._recorder.warning(kinds.POD, pod, "Failed", "Error: ErrImagePull", field_path=path)
            raise PullFailed("ErrImagePull", str(exc), wallclock.now() + 1) from None
        self._back_offs.pop(key, None)
        self.changed()
        took_s, waited_s = trio.current_time() - began, wallclock.now() - now
        text = (
            f'Successfully pulled image "{reference}" in {_took(took_s)} ({_took(waited_s)} including waiting). Image size: {image.size_bytes} bytes.'
        )
        self._recorder.normal(kinds.POD, pod, "Pulled", text, field_path=path)
        return image

    async def _auths(self, pod: Object, reference: str) -> Sequence[RegistryAuth]:
        found: list[RegistryAuth] = []
        for entry in (pod.get("spec") or {}).get("imagePullSecrets") or ():
            secret = await self._references.get(kinds.SECRET, objects.namespace(pod), entry["name"], objects.uid(pod))
            if secret is None:
                text = f"Unable to retrieve some image pull secrets ({entry['name']}); attempting to pull the image may not succeed."
                self._recorder.warning(kinds.POD, pod, "FailedToRetrieveImagePullSecret", text)
                continue
            found += auths_for(reference, secret)
        return found


def _took(seconds: float) -> str:
    return f"{seconds:.3g}s" if seconds >= 1 else f"{int(seconds * 1000)}ms"


def _default_policy(reference: str) -> str:
    name = reference.rpartition("/")[2]
    return "IfNotPresent" if "@" in reference or (":" in name and not name.endswith(":latest")) else "Always"


def auths_for(reference: str, secret: Object) -> list[RegistryAuth]:
    """The credentials of a pull secret that are meant for the image's registry, the most specific first."""
    entries = _docker_config(secret)
    matches = [(pattern, auth) for pattern, auth in entries.items() if _matches(pattern, reference)]
    return [_auth(auth) for _, auth in sorted(matches, key=lambda pair: -len(pair[0]))]


def _docker_config(secret: Object) -> dict[str, dict[str, Any]]:
    """Entries by registry. What somebody else wrote may be anything: what is no entry is none."""
    raw = secret.get("data") or {}
    try:
        if ".dockerconfigjson" in raw:
            found = orjson.loads(base64.b64decode(raw[".dockerconfigjson"])).get("auths")
        else:
            found = orjson.loads(base64.b64decode(raw.get(".dockercfg") or b"e30="))
        return {str(host): entry for host, entry in (found or {}).items() if isinstance(entry, dict)}
    except (orjson.JSONDecodeError, binascii.Error, AttributeError) as exc:
        log.warning("image pull secret cannot be read", secret=objects.key(secret), error=exc)
    return {}


def _matches(pattern: str, reference: str) -> bool:
    pattern = pattern.partition("://")[2] if "://" in pattern else pattern
    host, _, path = pattern.rstrip("/").partition("/")
    path = "" if path in ("v1", "v2") else path
    registry, slash, rest = reference.partition("/")
    if not slash or not ("." in registry or ":" in registry or registry == "localhost"):
        registry, rest = "docker.io", reference if slash else f"library/{reference}"
    if registry == "docker.io" and host in ("docker.io", "index.docker.io", "registry-1.docker.io"):
        host = "docker.io"
    same_depth = host.count(".") == registry.count(".")
    return same_depth and fnmatch.fnmatchcase(registry, host) and rest.startswith(path)


def _auth(entry: dict[str, Any]) -> RegistryAuth:
    return RegistryAuth(entry.get("username") or "", entry.get("password") or "", entry.get("identitytoken") or "", entry.get("auth") or "")
