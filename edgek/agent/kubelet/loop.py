"""The kubelet: which pods belong on this node, and one worker for each.

Nothing is polled. A worker wakes when the API changes its pod or something that the pod refers to, when the runtime reports an event of one of its
containers, when a probe changes its mind, and when a time has come that its plan named.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import trio

from edgek.agent.kubelet import admission, labels, lifecycle
from edgek.agent.kubelet.away import Away
from edgek.agent.kubelet.cgroups import Cgroups
from edgek.agent.kubelet.contact import Contact
from edgek.agent.kubelet.copies import Copies
from edgek.agent.kubelet.csi.storage import Storage
from edgek.agent.kubelet.ending import Ender
from edgek.agent.kubelet.environment import Surroundings
from edgek.agent.kubelet.images import Images
from edgek.agent.kubelet.lifecycle import Seen, Verdict
from edgek.agent.kubelet.machine import Machine
from edgek.agent.kubelet.mirrors import StaticPods
from edgek.agent.kubelet.observe import Observer
from edgek.agent.kubelet.perform import Performer
from edgek.agent.kubelet.probes import Prober
from edgek.agent.kubelet.publish import Publisher
from edgek.agent.kubelet.references import References
from edgek.agent.kubelet.settings import KubeletSettings
from edgek.agent.kubelet.starting import Starter
from edgek.agent.kubelet.volumes.pod_volumes import PodVolumes
from edgek.agent.kubelet.worker import PodWorker, Tools
from edgek.agent.runtime.runtime import Runtime, RuntimeGone
from edgek.client.client import Client
from edgek.client.events import Recorder
from edgek.client.informer import Informer
from edgek.client.services import Service, service
from edgek.host import log
from edgek.host.mount import Kernel, Mounter
from edgek.host.worker import InLine, Worker
from edgek.model import kinds, objects
from edgek.model.objects import Object

FILE_THREADS = 4  # taking down volumes and log folders
RUNTIME_RETRY_S = 0.5
OFFLINE_AFTER_S = 15.0  # a server that takes longer to answer is away


class Kubelet:
    def __init__(
        self,
        settings: KubeletSettings,
        client: Client,
        runtime: Runtime,
        recorder: Recorder,
        machine: Machine,
        *,
        mounter: Mounter | None = None,
        cgroups: Cgroups | None = None,
        files: Worker | InLine | None = None,
        contact: Contact | None = None,
        services: Informer[Service] | None = None,  # where somebody else runs one
    ) -> None:
        self.settings = settings
        self.client = client
        self.runtime = runtime
        self.recorder = recorder
        self.machine = machine
        self.workers: dict[str, PodWorker] = {}
        self.away = Away(contact or Contact(), client, self.workers)
        self.offer: Callable[[], admission.NodeOffer] = lambda: admission.NodeOffer({}, {}, settings.max_pods)
        self.expect: Callable[[Mapping[str, str]], None] = lambda addresses: None  # pods, by uid, come back and had these addresses
        self.is_taken: Callable[[], bool] = lambda: False  # another machine is this node, and runs its pods
        self.manifests: Callable[[], Iterable[Object]] = lambda: ()  # static pods that must be known before strangers are removed
        self.observer = Observer(runtime)
        self.prober = Prober(runtime, recorder, self._wake)
        self.copies = Copies(settings.copies_dir, files)
        self.references = References(client, self._refresh, self.copies)
        if contact is not None:
            self.references.silent = lambda: contact.lost
        self.images = Images(runtime, self.references, recorder)
        mounter = mounter or Kernel()
        self.storage = Storage(
            settings.kubelet_dir, settings.node_name, client, recorder, mounter, files=files or Worker(FILE_THREADS), wake=self._refresh
        )
        self.volumes = PodVolumes(settings, client, self.references, mounter, self.storage, files)
        self.publisher = Publisher(client, self.known)
        self.pods = Informer(client, kinds.POD, self._mine, fields=f"spec.nodeName={settings.node_name}")
        self._own_services = services is None
        self.services = services or Informer(client, kinds.SERVICE, service)
        self.statics = StaticPods(client, settings.node_name, self.workers, self._start, self.pods)
        self._nursery: trio.Nursery | None = None
        starter = Starter(settings, runtime, self.images, self.volumes, self.references, recorder, self.surroundings, machine.memory_bytes)
        self._performer = Performer(
            settings, runtime, starter, Ender(settings, runtime, recorder), self.volumes, self.references, recorder, cgroups or Cgroups(),
            self.surroundings, machine.memory_bytes, files or Worker(FILE_THREADS),
        )  # fmt: skip
        self._tools = Tools(self.observer, self._performer, self.prober, self.publisher, recorder, self._admit, self._unfit, settings.node_ips)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Started once workers can run. Pods of the API follow as soon as it answers; those of ``manifests`` do not wait for that."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            for part in (self.copies.run, self.prober.run, self.references.run, self.publisher.run, self.away.run, self.statics.run):
                await nursery.start(part)
            nursery.start_soon(self._hear_events)
            found = await self._pods_of_runtime()
            for pod in self.manifests():
                await self.statics.put(pod)
            if self._own_services:
                nursery.start_soon(self.services.run)
            nursery.start_soon(self.pods.run)
            nursery.start_soon(self._join_api, found)
            nursery.start_soon(self._start_from_copies)
            task_status.started()

    async def _join_api(self, found: set[str]) -> None:
        """Once it is known which pods belong here: run them, and remove all others that were ``found`` in the runtime or on the disk."""
        await self.pods.synced.wait()
        await self.services.synced.wait()
        alone, self.references.offline = self.references.offline, False
        self.pods.add_handler(self._on_pod)
        known = {objects.uid(pod) for pod in self.pods.items.values()}
        for worker in list(self.workers.values()):
            if worker.uid not in known and worker.uid not in self.statics:
                worker.forget()  # started from a copy; the API has forgotten it meanwhile
        for copy in self.copies.pods():
            if objects.uid(copy) not in known:
                self.copies.drop_pod(objects.uid(copy))
        if alone:
            for worker in self.workers.values():
                worker.refresh()  # its tokens are old; what was not to be had is now
        for uid in found - self.workers.keys():
            log.info("pod is not known any more, removing it", uid=uid)
            self._start(uid, None)
        self._performer.remove_stray_cgroups(self.workers.keys())
        await self.volumes.clear(self.workers.__contains__)

    async def _start_from_copies(self) -> None:
        """When the server stays away, run what belonged here when it was last heard of."""
        with trio.move_on_after(OFFLINE_AFTER_S):
            await self.pods.synced.wait()
        if self.pods.synced.is_set():
            return
        if self.is_taken():
            log.error("another machine is this node: its pods are not started here")
            return
        copies = self.copies.pods()
        log.warning("the server cannot be reached, starting pods from the node's own copies", pods=len(copies))
        self.references.offline = True
        self.expect({objects.uid(pod): address for pod in copies if (address := (pod.get("status") or {}).get("podIP"))})
        for pod in copies:
            if objects.uid(pod) not in self.workers:
                self._start(objects.uid(pod), pod, admitted=True)

    # Which pods there are.

    def _mine(self, obj: Object) -> Object | None:
        if (obj.get("spec") or {}).get("nodeName") != self.settings.node_name:
            return None
        (obj.get("metadata") or {}).pop("managedFields", None)
        return obj

    def _on_pod(self, key: str, old: Object | None, new: Object | None) -> None:
        if labels.STATIC_MIRROR in objects.annotations(new or old or {}):
            self.statics.mirror_changed(old, new)
            return
        if old is not None and (new is None or objects.uid(new) != objects.uid(old)):
            worker = self.workers.get(objects.uid(old))
            if worker:
                worker.forget()
            self.copies.drop_pod(objects.uid(old))
        if new is None:
            return
        self.copies.keep_pod(new)
        worker = self.workers.get(objects.uid(new))
        if worker:
            worker.update(new)
        else:
            self._start(objects.uid(new), new)

    def _start(self, uid: str, pod: Object | None, *, admitted: bool = False) -> None:
        assert self._nursery is not None, "Kubelet.run comes first"
        worker = self.workers[uid] = PodWorker(uid, pod, self._tools, admitted=admitted)
        worker.away = "unsure" if self.away.overdue(pod) else ""
        self._nursery.start_soon(self._live, worker)

    async def _live(self, worker: PodWorker) -> None:
        await worker.run()
        uid = worker.uid
        self.workers.pop(uid, None)
        for container in worker.seen.containers:
            self.prober.stop(container.id)
        self.observer.forget(uid)
        self.references.release(uid)
        self.images.forget(uid)
        self.publisher.forget(uid)
        await self.statics.over(uid)

    # What workers and others ask.

    def known(self, uid: str) -> Object | None:
        """The API's object for a pod, its mirror where it is a static one."""
        if uid in self.statics:
            return self.statics.mirror(uid)
        worker = self.workers.get(uid)
        return worker.pod if worker and not worker.gone else None

    def find(self, namespace: str, name: str) -> PodWorker | None:
        """The worker of a pod by its name in the API."""
        for worker in self.workers.values():
            if worker.pod is not None and not worker.gone and (objects.namespace(worker.pod), objects.name(worker.pod)) == (namespace, name):
                return worker
        return None

    def surroundings(self, pod: Object, seen: Seen) -> Surroundings:
        ips = self.settings.node_ips if lifecycle.is_host_network(pod) else (seen.sandbox.ips if seen.sandbox else ())
        return Surroundings(tuple(self.settings.node_ips), tuple(ips), tuple(self.services.items.values()), self.machine.allocatable(self.settings))

    def _admit(self, pod: Object) -> Verdict | None:
        return admission.refusal(pod, self._beside(pod), self.offer())

    def _unfit(self, pod: Object) -> Verdict | None:
        return admission.unfit(pod, self._beside(pod), self.offer())

    def _beside(self, pod: Object) -> list[Object]:
        return [w.pod for w in self.workers.values() if w.occupies and w.pod is not None and w.uid != objects.uid(pod)]

    # What wakes workers.

    def wake_all(self) -> None:
        """Something of the node changed that every pod's status shows: its address."""
        for worker in self.workers.values():
            worker.wake()

    def _wake(self, uid: str) -> None:
        worker = self.workers.get(uid)
        if worker:
            worker.wake()

    def _refresh(self, uid: str) -> None:
        worker = self.workers.get(uid)
        if worker:
            worker.refresh()

    async def _hear_events(self) -> None:
        async for event in self.runtime.events():
            owners: Sequence[str] = (self.observer.owner(event.id),) if event.id else tuple(self.workers)
            for uid in owners:
                self._wake(uid)

    async def _pods_of_runtime(self) -> set[str]:
        while True:
            try:
                return await self.observer.uids()
            except RuntimeGone as exc:
                log.warning("the container runtime does not answer", error=exc)
                await trio.sleep(RUNTIME_RETRY_S)
