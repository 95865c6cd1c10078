"""The node's own objects: registered at the start, a Lease renewed every ten seconds, the status written when it changed or every five minutes.

The same ten-second beat drives what the kubelet has to look at now and then (free memory, free disk, sizes of logs), so that an idle node wakes up
once, not for each of them.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Sequence

import trio

from edgek.agent import node_object
from edgek.agent.kubelet.admission import NodeOffer
from edgek.agent.kubelet.contact import LATE_S, Contact
from edgek.agent.kubelet.machine import Machine
from edgek.agent.kubelet.resources import number
from edgek.agent.kubelet.settings import KubeletSettings
from edgek.agent.ready import Readiness
from edgek.agent.runtime.runtime import Runtime
from edgek.client.client import Client
from edgek.client.events import Recorder
from edgek.client.informer import Informer
from edgek.client.transport import Disconnected
from edgek.host import log, uptime, wallclock
from edgek.model import errors, kinds, objects
from edgek.model.objects import Object

BEAT_S = 10.0
AGAIN_S = 3.0
QUICK_S = 120.0  # of silence; later the server is asked as often as it would be told
LEASE_S = 40  # a node whose lease is older is lost
STATUS_S = 300.0
REGISTER_RETRY_S = 1.0
REFUSED_RETRY_S = UNREGISTERED_RETRY_S = 10.0  # somebody's hand is slower than that
AMENDS_S = 5.0  # for a server that has given the node up to see its new status
REGISTER_WAIT_S = 5.0  # a node whose server is away goes on without being registered
LEASE_NAMESPACE = "kube-node-lease"
Beat = Callable[[], Awaitable[None]]


class NodeKeeper:
    """``pressures`` names the pressure conditions that hold now; ``beats`` are called every ten seconds, one after another."""

    def __init__(
        self,
        settings: KubeletSettings,
        client: Client,
        runtime: Runtime,
        recorder: Recorder,
        machine: Machine,
        *,
        pressures: Callable[[], frozenset[str]] = frozenset,
        beats: Sequence[Beat] = (),
        contact: Contact | None = None,
    ) -> None:
        self._settings = settings
        self._client = client
        self._runtime = runtime
        self._recorder = recorder
        self._machine = machine
        self._pressures = pressures
        self._beats = beats
        self._contact = contact or Contact()
        self._renewed_at: float | None = None  # when the renewal was sent that the server has just answered
        self._confirmed = self._refused = False
        self._why_not = "the node is starting"  # ready; empty when it is
        self._ready_before: bool | None = None
        self._woken = trio.Event()
        self._house_due = trio.Event()
        self._written_at = float("-inf")
        self._lease_known = False
        self._deleted = False  # and that has been said
        self.readiness = Readiness(runtime)
        self.node = Informer(client, kinds.NODE, self._mine, fields=f"metadata.name={settings.node_name}")

    def offer(self) -> NodeOffer:
        """What pods may have of this node, as the API shows it (administrators add labels and resources there)."""
        shown = self.node.get(self._settings.node_name) or {}
        allocatable = (shown.get("status") or {}).get("allocatable") or self._machine.allocatable(self._settings)
        return NodeOffer(
            labels=objects.labels(shown) or node_object.labels(self._settings, self._machine),
            allocatable={name: number(str(value)) for name, value in allocatable.items()},
            max_pods=self._settings.max_pods,
            taints=(shown.get("spec") or {}).get("taints") or (),
        )

    def wake(self) -> None:
        """Something changed that the node's status shows: it is not to wait for the next beat."""
        self._woken.set()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        async with trio.open_nursery() as nursery:
            registered = trio.Event()
            nursery.start_soon(self._live, registered)
            with trio.move_on_after(REGISTER_WAIT_S):
                await registered.wait()
            task_status.started()

    async def _live(self, registered: trio.Event) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._follow_node, registered)
            nursery.start_soon(self._keep_house)
            while True:
                known = registered.is_set()
                self._woken = trio.Event()
                await self._beat(known)
                until = trio.current_time() + BEAT_S
                with trio.move_on_at(until):
                    if not known:
                        await registered.wait()  # and then it is shown at once
                        continue
                    await self._renew_again(until)
                    await self._woken.wait()

    async def _keep_house(self) -> None:
        """Beside the beat: a runtime that hangs holds this up, and not the lease."""
        while True:
            await self._house_due.wait()
            self._house_due = trio.Event()
            for beat in self._beats:
                await beat()

    async def _follow_node(self, registered: trio.Event) -> None:
        await (self._register() if self._settings.register_node else self._wait_to_be_registered())
        registered.set()
        await self.node.run()

    async def _beat(self, registered: bool) -> None:
        jumped_s = wallclock.compare(uptime.now())
        if jumped_s:
            log.warning("the clock was set", by_s=round(jumped_s), now=wallclock.now_rfc3339())
        self._why_not = await self.readiness.look()
        if registered:
            await self._report()
        self._house_due.set()

    async def _renew_again(self, until: float) -> None:
        """A server that has just fallen silent, or has given us up, hears of us more often: every second counts."""
        while not self._confirmed and not self._refused and trio.current_time() + AGAIN_S < until:
            if self._renewed_at is None and self._contact.silent_s > QUICK_S:
                return
            await trio.sleep(AGAIN_S * random.uniform(0.5, 1.0))
            await self._report()

    async def _report(self) -> None:
        self._renewed_at, self._confirmed, self._refused = None, False, False
        for each in (self._renew, self._write_status, self._confirm):
            try:
                await each()
            except (errors.ApiError, Disconnected) as exc:
                self._refused = self._refused or isinstance(exc, errors.ApiError)
                log.debug("node not updated", error=exc)

    # Registering.

    async def _register(self) -> None:
        wanted = node_object.new_node(self._settings, self._machine)
        complained: bool | None = None  # of a refusal, or of nothing worse than a server that is away
        while True:
            try:
                await self._create_or_mend(wanted)
                break
            except (errors.ApiError, Disconnected) as exc:
                refused = isinstance(exc, (errors.Forbidden, errors.Invalid, errors.BadRequest))
                if refused != complained:
                    complained = refused
                    remedy = {"next": "start it with other flags; what is not a node's to set, `edgek kubectl` sets on the server"} if refused else {}
                    log.warning("cannot register the node yet", node=self._settings.node_name, error=exc, **remedy)
                await trio.sleep(REFUSED_RETRY_S if refused else REGISTER_RETRY_S)
        self._recorder.normal(kinds.NODE, self._reference(), "Starting", "Starting kubelet.")

    async def _wait_to_be_registered(self) -> None:
        complained = False
        while True:
            try:
                await self._client.get(kinds.NODE, self._settings.node_name)
                return
            except (errors.ApiError, Disconnected) as exc:
                if not complained:
                    why = "somebody has to create its Node object (--register-node=false)" if isinstance(exc, errors.NotFound) else exc
                    log.warning("the node is not registered yet", node=self._settings.node_name, why=why)
                    complained = True
                await trio.sleep(UNREGISTERED_RETRY_S)

    async def _create_or_mend(self, wanted: Object) -> None:
        try:
            await self._client.create(kinds.NODE, wanted)
        except errors.AlreadyExists:
            present = await self._client.get(kinds.NODE, self._settings.node_name)
            if any(objects.labels(present).get(key) != value for key, value in objects.labels(wanted).items()):
                patch = {"metadata": {"labels": objects.labels(wanted), "annotations": objects.annotations(wanted)}}
                await self._client.patch(kinds.NODE, self._settings.node_name, patch)

    async def _present(self) -> Object:
        """The node's object, made again where somebody deleted it while we live. Raises NotFound where it is not for us to make it."""
        try:
            found = await self._client.get(kinds.NODE, self._settings.node_name)
        except errors.NotFound:
            if not self._settings.register_node:
                if not self._deleted:
                    log.warning("the node was deleted, and does not register again (--register-node=false)", node=self._settings.node_name)
                self._deleted = True
                raise
            log.warning("the node was deleted, and lives: registering it again", node=self._settings.node_name)
            return await self._client.create(kinds.NODE, node_object.new_node(self._settings, self._machine))
        self._deleted = False
        return found

    # The lease.

    async def _renew(self) -> None:
        sent = uptime.now()
        await self._write_lease()
        self._renewed_at = sent

    async def _confirm(self) -> None:
        """Whether the server, whose word we have just had, counts this node in: not if it has given the node up and not heard its status since."""
        sent, name = self._renewed_at, self._settings.node_name
        if sent is None:
            return
        if node_object.given_up(self.node.get(name)):
            with trio.move_on_after(AMENDS_S):
                await self.node.until(lambda: not node_object.given_up(self.node.get(name)))
        if node_object.given_up(self.node.get(name)):
            return
        if sent - self._contact.silent_since >= LATE_S:
            found = await self._client.get(kinds.NODE, name)  # after a silence our cache may be from before the server gave us up
            if node_object.given_up(found):
                await self._write_status(found)
                return
        self._contact.heard(sent)
        self._confirmed = True

    async def _write_lease(self) -> None:
        name = self._settings.node_name
        if self._lease_known:
            try:
                await self._client.patch(kinds.LEASE, name, {"spec": self._lease_spec()}, LEASE_NAMESPACE, minimal=True)
                return
            except errors.NotFound:
                self._lease_known = False
        shown = self.node.get(name) or await self._present()
        owner = {"apiVersion": "v1", "kind": "Node", "name": name, "uid": objects.uid(shown)}
        meta: Object = {"name": name, "namespace": LEASE_NAMESPACE, "ownerReferences": [owner]}
        try:
            await self._client.create(kinds.LEASE, {"metadata": meta, "spec": self._lease_spec()}, LEASE_NAMESPACE, minimal=True)
        except errors.AlreadyExists:
            await self._client.patch(kinds.LEASE, name, {"spec": self._lease_spec()}, LEASE_NAMESPACE, minimal=True)
        self._lease_known = True

    def _lease_spec(self) -> Object:
        return {"holderIdentity": self._settings.node_name, "leaseDurationSeconds": LEASE_S, "renewTime": wallclock.now_micro()}

    # The status.

    async def _write_status(self, shown: Object | None = None) -> None:
        """``shown``: the node as the server has it, where that is known better than by our cache."""
        name = self._settings.node_name
        shown = shown or self.node.get(name) or await self._present()
        while True:
            status = node_object.status(shown, self._settings, self._machine, self._pressures(), self._why_not, self.readiness)
            due = trio.current_time() - self._written_at >= STATUS_S
            if not due and not node_object.changed(status, shown.get("status") or {}):
                break
            patch = {"metadata": {"resourceVersion": objects.revision(shown)}, "status": status}
            try:
                await self._client.patch(kinds.NODE, name, patch, subresource="status")
                self._written_at = trio.current_time()
                break
            except errors.Conflict:
                shown = await self._client.get(kinds.NODE, name)
        self._announce(not self._why_not)

    def _announce(self, ready: bool) -> None:
        if ready != self._ready_before:
            word = "NodeReady" if ready else "NodeNotReady"
            self._recorder.normal(kinds.NODE, self._reference(), word, f"Node {self._settings.node_name} status is now: {word}")
            self._ready_before = ready

    def _reference(self) -> Object:
        """The node as the subject of an event: its uid there is its name, as upstream has it."""
        return {"metadata": {"name": self._settings.node_name, "uid": self._settings.node_name}}

    def _mine(self, obj: Object) -> Object | None:
        if objects.name(obj) != self._settings.node_name:
            return None
        (obj.get("metadata") or {}).pop("managedFields", None)
        return obj
