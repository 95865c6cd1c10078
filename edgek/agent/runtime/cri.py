"""The Runtime behind a containerd socket: CRI v1 for pods and images, containerd's own services for streams and events.

Whatever goes wrong becomes a RuntimeFailure with the kubelet's word for it, or RuntimeGone when nobody answers. Cancelling a call cancels it at
containerd, which rolls back.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import trio

from edgek.agent.runtime import attach, cri_values, events, exec_process, images_import, shims
from edgek.agent.runtime import messages_cri as cri
from edgek.agent.runtime.messages_containerd import NAMESPACE
from edgek.agent.runtime.patience import Patience
from edgek.agent.runtime.pulls import Pulls
from edgek.agent.runtime.registries import Registries
from edgek.agent.runtime.runtime import (
    CONDITIONS,
    Container,
    ContainerStatus,
    ExecResult,
    Image,
    ImageNotFound,
    RegistryAuth,
    Resources,
    RuntimeCondition,
    RuntimeEvent,
    RuntimeFailure,
    RuntimeGone,
    Sandbox,
    SandboxStatus,
    Usage,
)
from edgek.host.message import Values
from edgek.host.rpc import Channel, Method, RpcError, TooSlow, Unreachable

PROBE_S = 5.0  # for a word on how it is, which needs no disk
CALL_TIMEOUT_S = 120.0  # the kubelet's own limit for a request to its runtime
SANDBOX_TIMEOUT_S = 240.0  # twice that: a sandbox may wait for its network
EXEC_GRACE_S = 0.5  # beyond the exec's own limit. containerd gives up first, but waits for whoever else holds the output

STARTING = "server is not initialized yet"  # containerd's socket answers before its CRI part does
STARTING_S = 0.02  # between questions to one that is starting: a tenth of a second in all

# Texts of a pull that failed for another reason than the image: what an operator should look at.
_INVALID_NAME = ("invalid reference format", "could not parse reference", "failed to parse image reference")


class CriRuntime:
    """FIFOs of execs live below ``run_dir``; ``registries`` gives the operator's credentials, asked at each pull.

    ``bundles`` is where a containerd of ours keeps the folders of its tasks; ``patience`` is that of its keeper.
    """

    def __init__(
        self,
        socket: Path,
        run_dir: Path,
        registries: Callable[[], Registries] = Registries,
        *,
        bundles: Path | None = None,
        patience: Patience | None = None,
    ) -> None:
        self._channel = Channel(f"unix://{socket}", NAMESPACE)
        self._pulls = Pulls(self._channel)
        self._fifos = run_dir / "exec"
        self._registries = registries
        self._socket = socket
        self._bundles = bundles
        self._patience = patience or Patience()

    def close(self) -> None:
        self._channel.close()

    async def version(self) -> tuple[str, str]:
        answer = await self._call(cri.VERSION, {}, timeout_s=5)
        return answer["runtime_name"], answer["runtime_version"].removeprefix("v")

    async def wait_until_there(self, timeout_s: float) -> None:
        """Return as soon as it answers. Raises RuntimeGone after ``timeout_s``."""
        try:
            with trio.fail_after(timeout_s):
                while not await self._there(timeout_s):
                    continue
        except trio.TooSlowError:
            raise RuntimeGone(f"containerd does not answer within {timeout_s:g} seconds") from None

    async def _there(self, timeout_s: float) -> bool:
        try:
            await self._channel.wait_until_there(cri.STATUS, timeout_s=timeout_s)
        except RpcError as error:
            failure = _failure(error)
            if not isinstance(failure, RuntimeGone):
                raise failure from None
            await trio.sleep(STARTING_S)
            return False
        return True

    async def conditions(self) -> Sequence[RuntimeCondition]:
        try:
            answer = await self._call(cri.STATUS, {}, timeout_s=PROBE_S)
        except RuntimeGone:
            self._patience.of_no_use()
            raise
        said = [RuntimeCondition(c["type"], c["status"], c["reason"], c["message"]) for c in answer["status"]["conditions"]]
        found = [condition for condition in said if condition.type in CONDITIONS]
        if all(condition.ready for condition in found):
            self._patience.of_use()
        else:
            self._patience.of_no_use()
        return found

    # Pods.

    async def run_sandbox(self, sandbox: Sandbox) -> str:
        if not sandbox.host_users:
            raise RuntimeFailure("user namespaces (hostUsers: false) are not supported by this runtime", "CreatePodSandboxError")
        wanted = {"config": cri_values.sandbox_config(sandbox), "runtime_handler": sandbox.runtime_handler}
        answer = await self._call(cri.RUN_SANDBOX, wanted, "CreatePodSandboxError", timeout_s=SANDBOX_TIMEOUT_S)
        sandbox_id: str = answer["pod_sandbox_id"]
        return sandbox_id

    async def stop_sandbox(self, sandbox_id: str) -> None:
        await self._gone_is_fine(cri.STOP_SANDBOX, {"pod_sandbox_id": sandbox_id}, "KillPodSandboxError", CALL_TIMEOUT_S)

    async def remove_sandbox(self, sandbox_id: str) -> None:
        await self._gone_is_fine(cri.REMOVE_SANDBOX, {"pod_sandbox_id": sandbox_id}, "KillPodSandboxError", CALL_TIMEOUT_S)
        if self._bundles is not None and (self._bundles / sandbox_id).exists():
            shims.end_of(self._socket, sandbox_id)

    async def sandboxes(self, *, uid: str = "") -> Sequence[SandboxStatus]:
        answer = await self._call(cri.LIST_SANDBOXES, {})
        return [cri_values.sandbox_status(item) for item in answer["items"] if not uid or item["metadata"]["uid"] == uid]

    async def sandbox(self, sandbox_id: str) -> SandboxStatus | None:
        answer = await self._found(cri.SANDBOX_STATUS, {"pod_sandbox_id": sandbox_id, "verbose": True})
        return cri_values.sandbox_status(answer["status"], answer["info"]) if answer else None

    # Containers.

    async def create_container(self, sandbox_id: str, container: Container, sandbox: Sandbox) -> str:
        wanted = {
            "pod_sandbox_id": sandbox_id,
            "config": cri_values.container_config(container, sandbox),
            "sandbox_config": cri_values.sandbox_config(sandbox),
        }
        answer = await self._call(cri.CREATE_CONTAINER, wanted, "CreateContainerError")
        container_id: str = answer["container_id"]
        return container_id

    async def start_container(self, container_id: str) -> None:
        await self._call(cri.START_CONTAINER, {"container_id": container_id}, "RunContainerError")

    async def stop_container(self, container_id: str, grace_s: float) -> None:
        grace = math.ceil(max(grace_s, 0))
        wanted = {"container_id": container_id, "timeout": grace}
        await self._gone_is_fine(cri.STOP_CONTAINER, wanted, "KillContainerError", grace + CALL_TIMEOUT_S)

    async def remove_container(self, container_id: str) -> None:
        await self._gone_is_fine(cri.REMOVE_CONTAINER, {"container_id": container_id}, "", CALL_TIMEOUT_S)

    async def containers(self, *, sandbox_id: str = "") -> Sequence[ContainerStatus]:
        wanted = {"filter": {"pod_sandbox_id": sandbox_id}} if sandbox_id else {}
        answer = await self._call(cri.LIST_CONTAINERS, wanted)
        return [cri_values.container_entry(item) for item in answer["containers"]]

    async def container(self, container_id: str) -> ContainerStatus | None:
        answer = await self._found(cri.CONTAINER_STATUS, {"container_id": container_id, "verbose": True})
        return cri_values.container_status(answer["status"], answer["info"]) if answer else None

    async def update_resources(self, container_id: str, resources: Resources) -> None:
        await self._call(cri.UPDATE_RESOURCES, {"container_id": container_id, "linux": cri_values.resources(resources)})

    async def reopen_log(self, container_id: str) -> None:
        await self._call(cri.REOPEN_LOG, {"container_id": container_id})

    async def exec_sync(self, container_id: str, command: Sequence[str], timeout_s: float) -> ExecResult:
        wanted = {"container_id": container_id, "cmd": command, "timeout": math.ceil(timeout_s)}
        try:
            with trio.fail_after(timeout_s + EXEC_GRACE_S):
                answer = await self._channel.call(cri.EXEC_SYNC, wanted, timeout_s=timeout_s + EXEC_GRACE_S)
        except TooSlow as error:
            raise trio.TooSlowError(f"{command[0]!r} took longer than {timeout_s:g} seconds") from error
        except RpcError as error:
            raise _failure(error) from None
        return ExecResult(answer["exit_code"], answer["stdout"], answer["stderr"])

    async def exec(
        self,
        container_id: str,
        command: Sequence[str],
        *,
        tty: bool,
        stdin: AsyncIterator[bytes] | None,
        stdout: trio.abc.SendStream | None,
        stderr: trio.abc.SendStream | None,
        resizes: AsyncIterator[tuple[int, int]] | None,
    ) -> int:
        streams = exec_process.Streams(tty, stdin, stdout, stderr, resizes)
        with _as_failure():
            return await exec_process.run(self._channel, self._fifos, container_id, command, streams)

    async def attach(
        self,
        container_id: str,
        *,
        tty: bool,
        stdin: AsyncIterator[bytes] | None,
        stdout: trio.abc.SendStream | None,
        stderr: trio.abc.SendStream | None,
        resizes: AsyncIterator[tuple[int, int]] | None,
    ) -> None:
        streams = exec_process.Streams(tty, stdin, stdout, stderr, resizes)
        with _as_failure():
            await attach.run(self._channel, container_id, streams)

    # Images.

    async def images(self) -> Sequence[Image]:
        answer = await self._call(cri.LIST_IMAGES, {})
        return [cri_values.image(item) for item in answer["images"]]

    async def image(self, reference: str) -> Image | None:
        answer = await self._call(cri.IMAGE_STATUS, {"image": {"image": reference}})
        return cri_values.image(answer["image"]) if answer["image"] else None

    async def pull_image(self, reference: str, auths: Sequence[RegistryAuth], *, namespace: str = "") -> Image:
        failure: RuntimeFailure | None = None
        for auth in (*auths, *self._registries().auths(reference)) or (None,):
            try:
                pulled = await self._pulls.pull(reference, cri_values.auth(auth) if auth else None)
            except RpcError as error:
                failure = _pull_failure(error)
                continue
            image = await self.image(pulled)
            if image is not None:
                return image
            failure = RuntimeFailure(f"image {reference!r} was pulled and is not there; was it removed meanwhile?", "ErrImagePull")
        raise failure or RuntimeFailure(f"image {reference!r} was not pulled", "ErrImagePull")

    async def import_images(self, archive: trio.Path) -> Sequence[str]:
        with _as_failure():
            references = await images_import.load(self._channel, Path(archive))
        for reference in references:
            await self._listed(reference)
        return references

    async def _listed(self, reference: str) -> None:
        """CRI hears of a new image by an event: wait the moment it takes."""
        for pause_s in events.SETTLE_STEPS_S:
            if await self.image(reference) is not None:
                return
            await trio.sleep(pause_s)

    async def remove_image(self, image_id: str) -> None:
        await self._gone_is_fine(cri.REMOVE_IMAGE, {"image": {"image": image_id}}, "", CALL_TIMEOUT_S)

    async def drop_partial_pulls(self) -> None:
        with _as_failure():
            await self._pulls.forget(older_than_s=0)

    async def image_filesystem(self) -> tuple[str, int, int]:
        answer = await self._call(cri.IMAGE_FILESYSTEM, {})
        if not answer["image_filesystems"]:
            return "", 0, 0
        first = answer["image_filesystems"][0]
        used, inodes = first["used_bytes"] or {}, first["inodes_used"] or {}
        return (first["fs_id"] or {}).get("mountpoint", ""), used.get("value", 0), inodes.get("value", 0)

    async def usage(self) -> Sequence[Usage]:
        sandboxes = {container.id: container.sandbox_id for container in await self.containers()}
        answer = await self._call(cri.LIST_STATS, {})
        return [cri_values.usage(s, sandboxes[s["attributes"]["id"]]) for s in answer["stats"] if s["attributes"]["id"] in sandboxes]

    async def events(self) -> AsyncGenerator[RuntimeEvent, None]:
        async with contextlib.aclosing(events.watch(self._channel, self._settled)) as changes:
            async for change in changes:
                yield change

    async def _settled(self, container_or_sandbox_id: str) -> bool:
        """Whether CRI has noticed that this process ended."""
        container = await self._found(cri.CONTAINER_STATUS, {"container_id": container_or_sandbox_id})
        if container:
            return bool(cri.CONTAINER_STATES[container["status"]["state"]] != "running")
        sandbox = await self._found(cri.SANDBOX_STATUS, {"pod_sandbox_id": container_or_sandbox_id})
        return not sandbox or bool(sandbox["status"]["state"] != cri.SANDBOX_READY)

    async def _call(self, method: Method, values: Mapping[str, Any], reason: str = "", *, timeout_s: float = CALL_TIMEOUT_S) -> Values:
        try:
            return await self._channel.call(method, values, timeout_s=timeout_s)
        except RpcError as error:
            raise _failure(error, reason) from None

    async def _found(self, method: Method, values: Mapping[str, Any]) -> Values | None:
        try:
            return await self._channel.call(method, values, timeout_s=CALL_TIMEOUT_S)
        except RpcError as error:
            if error.code == "NOT_FOUND":
                return None
            raise _failure(error) from None

    async def _gone_is_fine(self, method: Method, values: Mapping[str, Any], reason: str, timeout_s: float) -> None:
        try:
            await self._channel.call(method, values, timeout_s=timeout_s)
        except RpcError as error:
            if error.code != "NOT_FOUND":
                raise _failure(error, reason) from None


@contextlib.contextmanager
def _as_failure() -> Iterator[None]:
    try:
        yield
    except RpcError as error:
        raise _failure(error) from None


def _failure(error: RpcError, reason: str = "") -> RuntimeFailure:
    if isinstance(error, Unreachable | TooSlow) or STARTING in error.details:
        return RuntimeGone(f"containerd does not answer: {error.details}")
    return RuntimeFailure(error.details, reason)


def _pull_failure(error: RpcError) -> RuntimeFailure:
    if isinstance(error, Unreachable):
        return RuntimeGone(f"containerd does not answer: {error.details}", "ErrImagePull")
    if error.code == "NOT_FOUND":
        return ImageNotFound(error.details, "ErrImagePull")
    if any(text in error.details for text in _INVALID_NAME):
        return RuntimeFailure(error.details, "InvalidImageName")
    return RuntimeFailure(error.details, "ErrImagePull")
