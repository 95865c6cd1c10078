"""Pull an image over a link that breaks: what has come stays, and the next try goes on from there, within a layer too.

containerd asks for the rest of a layer (Range) where it still has the beginning, and checks the digest of the whole. It loses the beginning when a
pull fails, for the lease that CRI holds ends with the call. So each pull runs below a lease of ours, named after the image, that stays until the
image is there: the same in 1.6 and in 2.x. Credentials and mirrors are CRI's business as ever.

A pull may take as long as it likes while something comes. containerd 1.6 would wait for ever on a connection that died silently, so we look.
"""

from __future__ import annotations

import contextlib
import hashlib

import attrs
import trio

from edgek.agent.runtime import messages_containerd as services
from edgek.agent.runtime import messages_cri as cri
from edgek.host import log, wallclock
from edgek.host.message import Values
from edgek.host.rpc import Channel, RpcError, Unreachable

LEASE_PREFIX = "edgek-pull-"
KEPT_S = 3 * 86400.0  # parts of an image that nobody asked for again: a weekend without a link
CALL_TIMEOUT_S = 30.0
WORTH_BYTES = 64 * 1024  # a try that brings less is followed by the kubelet's pause, not by another try at once


@attrs.frozen
class Patience:
    stalled_s: float = 60.0  # without a byte: longer than TCP takes to get over a bad moment
    look_s: float = 10.0


@attrs.frozen
class Progress:
    """What a lease holds: finished contents, open ones and what is there of them, and whatever else there is to see."""

    finished: int = 0
    open: int = 0
    open_bytes: int = 0
    things: frozenset[tuple[str, str]] = frozenset()

    def is_worth_more_than(self, before: Progress) -> bool:
        return self.finished > before.finished or self.open_bytes >= before.open_bytes + WORTH_BYTES

    @property
    def depends_on_the_link(self) -> bool:
        """Nothing is open and something is finished: then layers are being unpacked, which takes the time it takes."""
        return self.open > 0 or not self.finished


class Pulls:
    def __init__(self, channel: Channel, patience: Patience | None = None) -> None:
        self._channel = channel
        self._patience = patience or Patience()
        self._under_way: list[str] = []

    async def pull(self, reference: str, auth: Values | None) -> str:
        """The id of the image. Raises RpcError: nothing came for a while, or containerd says why not."""
        lease = LEASE_PREFIX + hashlib.sha256(reference.encode()).hexdigest()[:24]
        self._under_way.append(lease)
        try:
            await self.forget(KEPT_S)
            held = await self._hold(lease)
            while True:
                try:
                    found = await self._attempt(reference, auth, lease)
                    break
                except Unreachable:
                    raise  # whoever calls waits for containerd
                except RpcError as error:
                    before, held = held, await self._progress(lease)
                    if not held.things:
                        await self._release(lease)
                    if not held.is_worth_more_than(before):
                        raise
                    log.info("an image pull broke off and goes on", image=reference, layers=held.finished, partial_bytes=held.open_bytes, error=error)
            await self._release(lease)
            return found
        finally:
            self._under_way.remove(lease)

    async def _attempt(self, reference: str, auth: Values | None, lease: str) -> str:
        wanted = {"image": {"image": reference}, "auth": auth}
        answer: Values | None = None
        failure: RpcError | None = None
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._give_up_when_stalled, lease, nursery.cancel_scope)
            try:
                answer = await self._channel.call(cri.PULL_IMAGE, wanted, timeout_s=None, metadata=(("containerd-lease", lease),))
            except RpcError as error:
                failure = error
            nursery.cancel_scope.cancel()
        if answer is None:
            raise failure or RpcError("DEADLINE_EXCEEDED", f"failed to pull image {reference!r}: nothing came for {self._patience.stalled_s:g} s")
        image: str = answer["image_ref"]
        return image

    async def _give_up_when_stalled(self, lease: str, scope: trio.CancelScope) -> None:
        seen, since = Progress(), trio.current_time()
        while True:
            await trio.sleep(self._patience.look_s)
            try:
                now = await self._progress(lease)
            except RpcError:
                continue  # the pull itself will hear of it
            if now != seen or not now.depends_on_the_link:
                seen, since = now, trio.current_time()
            elif trio.current_time() - since >= self._patience.stalled_s:
                scope.cancel()

    async def _progress(self, lease: str) -> Progress:
        found = await self._channel.call(services.LIST_RESOURCES, {"id": lease}, timeout_s=CALL_TIMEOUT_S)
        things = frozenset((each["type"], each["id"]) for each in found["resources"])
        refs = {name for kind, name in things if kind == "ingests"}
        open_: list[Values] = []
        if refs:
            statuses = await self._channel.call(services.LIST_STATUSES, {}, timeout_s=CALL_TIMEOUT_S)
            open_ = [each for each in statuses["statuses"] if each["ref"] in refs]
        return Progress(sum(kind == "content" for kind, _ in things), len(open_), sum(each["offset"] for each in open_), things)

    # Leases.

    async def _hold(self, lease: str) -> Progress:
        """What is there from before."""
        try:
            await self._channel.call(services.CREATE_LEASE, {"id": lease}, timeout_s=CALL_TIMEOUT_S)
        except RpcError as error:
            if error.code != "ALREADY_EXISTS":
                raise
            return await self._progress(lease)
        return Progress()

    async def _release(self, lease: str) -> None:
        """What the image needs belongs to the image now. One that stays is forgotten with a later pull."""
        with contextlib.suppress(RpcError):
            await self._channel.call(services.DELETE_LEASE, {"id": lease}, timeout_s=CALL_TIMEOUT_S)

    async def forget(self, older_than_s: float) -> None:
        """What is left of pulls that began so long ago and are not under way."""
        found = await self._channel.call(services.LIST_LEASES, {}, timeout_s=CALL_TIMEOUT_S)
        for each in found["leases"]:
            name, created = each["id"], each["created_at"]["seconds"]
            if name.startswith(LEASE_PREFIX) and name not in self._under_way and created <= wallclock.now() - older_than_s:
                await self._release(name)
