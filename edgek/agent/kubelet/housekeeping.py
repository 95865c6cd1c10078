"""What the node looks at now and then, driven by its ten-second beat: pressure, sizes of logs and volumes, images that nobody uses."""

from __future__ import annotations

from pathlib import Path

import trio

from edgek.agent.kubelet import eviction, rotation
from edgek.agent.kubelet.eviction import Candidate, Pressures, Shortage
from edgek.agent.kubelet.loop import Kubelet
from edgek.agent.runtime.runtime import Image, RuntimeFailure
from edgek.host import log, wallclock
from edgek.host.worker import InLine, Worker
from edgek.model import objects

IMAGES_S = 300.0  # between two looks at how full the disk of the images is
YOUNGEST_IMAGE_S = 120.0  # an image just pulled may be about to be used
BETWEEN_EVICTIONS_S = 20.0  # the effect of one must show before the next


class Housekeeping:
    def __init__(self, kubelet: Kubelet, *, files: Worker | InLine | None = None) -> None:
        self._kubelet = kubelet
        self._files = files or Worker(1)
        self._pressures = Pressures()
        self._image_fs = kubelet.settings.data_dir
        self._began = wallclock.now()  # an image of which nothing is known was used then at the latest
        self._logs_due = self._images_due = self._eviction_due = 0.0

    def pressures(self) -> frozenset[str]:
        """The conditions that the node shows."""
        return self._pressures.conditions

    async def beat(self) -> None:
        now = trio.current_time()
        try:
            await self._watch_pressure(now)
            await self._watch_layers()
            if now >= self._logs_due:
                self._logs_due = now + self._kubelet.settings.log_check_s
                await rotation.check(self._kubelet, self._files)
                await self._watch_volumes()
            if now >= self._images_due:
                self._images_due = now + IMAGES_S
                await self._watch_images()
        except (RuntimeFailure, OSError) as exc:
            log.warning("housekeeping put off", error=exc)

    # Pressure.

    async def _watch_pressure(self, now: float) -> None:
        levels = eviction.read_levels(self._kubelet.settings.kubelet_dir, self._image_fs)
        short = eviction.shortages(levels)
        before = self._pressures.conditions
        self._pressures = self._pressures.seen(short, now)
        for name in sorted(self._pressures.conditions ^ before):
            log.warning("pressure changed", condition=name, on=name in self._pressures.conditions)
        if not short or now < self._eviction_due:
            return
        self._eviction_due = now + BETWEEN_EVICTIONS_S
        if short[0].signal.condition == "DiskPressure" and await self._free_images(freeing_bytes=1 << 62):
            return  # that may have been enough; the next beat shows
        await self._evict(short[0])

    async def _evict(self, shortage: Shortage) -> None:
        candidates = await self._candidates(shortage)
        chosen = eviction.victim(shortage, candidates)
        if chosen is None:
            return
        worker = self._kubelet.workers.get(objects.uid(chosen.pod))
        if worker is not None:
            log.warning("evicting a pod", pod=objects.key(chosen.pod), short=shortage.signal.name)
            worker.end(eviction.verdict(shortage, chosen))

    async def _candidates(self, shortage: Shortage) -> list[Candidate]:
        used: dict[str, float] = {}
        for usage in await self._kubelet.runtime.usage():
            uid = self._kubelet.observer.owner(usage.container_id)
            amount = usage.memory_working_set_bytes if shortage.signal.resource == "memory" else usage.writable_bytes
            used[uid] = used.get(uid, 0.0) + amount
        return [Candidate(w.pod, used.get(w.uid, 0.0)) for w in self._kubelet.workers.values() if w.occupies and w.pod is not None and w.seen.alive]

    async def _watch_layers(self) -> None:
        """Pods that limit what their containers write; where there is none, nobody is asked."""
        limited = [w for w in self._kubelet.workers.values() if w.pod is not None and w.occupies and eviction.has_storage_limit(w.pod)]
        if not limited:
            return
        layers = {usage.container_id: usage.writable_bytes for usage in await self._kubelet.runtime.usage()}
        for worker in limited:
            used = {c.name: layers.get(c.id, 0) + rotation.size(Path(c.log_path)) for c in worker.seen.containers if c.state == "running"}
            found = eviction.greedy(worker.pod or {}, used)
            if found:
                worker.end(found)

    async def _watch_volumes(self) -> None:
        for worker in list(self._kubelet.workers.values()):
            if worker.pod is None or not worker.occupies:
                continue
            sizes = {}
            for name in eviction.limited_volumes(worker.pod):
                path = self._kubelet.volumes.path_of(worker.uid, name)
                if path is not None:
                    sizes[name] = await self._files.run(eviction.folder_bytes, path)
            found = eviction.overfull(worker.pod, sizes)
            if found:
                worker.end(found)

    # Images.

    async def _watch_images(self) -> None:
        mount_point, _, _ = await self._kubelet.runtime.image_filesystem()
        self._image_fs = Path(mount_point)
        level = eviction.read_levels(self._kubelet.settings.kubelet_dir, self._image_fs).get("imagefs.available")
        settings = self._kubelet.settings
        if level and level.left < level.total * (100 - settings.image_high_percent) / 100:
            await self._free_images(int(level.total * (100 - settings.image_low_percent) / 100 - level.left))

    async def _free_images(self, freeing_bytes: int) -> bool:
        """Remove images that no container uses, the longest unused first; whether there were any."""
        runtime, last_used = self._kubelet.runtime, self._kubelet.images.last_used
        await runtime.drop_partial_pulls()
        in_use = {name for c in await runtime.containers() for name in (c.image, c.image_id)}
        now, freed = wallclock.now(), 0
        spare = [image for image in await runtime.images() if not image.pinned and not _names(image) & in_use]
        spare = [image for image in spare if now - last_used.get(image.id, self._began) >= YOUNGEST_IMAGE_S]
        for image in sorted(spare, key=lambda image: last_used.get(image.id, self._began)):
            if freed >= freeing_bytes:
                break
            await runtime.remove_image(image.id)
            last_used.pop(image.id, None)
            freed += image.size_bytes
            log.info("image removed, the disk is filling up", image=next(iter(image.tags), image.id), bytes=image.size_bytes)
        if freed:
            self._kubelet.images.changed()
        return freed > 0


def _names(image: Image) -> set[str]:
    return {image.id, *image.tags, *image.digests}
