"""Whether this node is ready for pods, and why not: by its container runtime's word, which is asked for with a deadline, and by its pod network.

The words are upstream's, because people and programs look for them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import trio

from edgek.agent.runtime.runtime import Image, Runtime, RuntimeCondition, RuntimeFailure, RuntimeGone

IMAGES_S = 5.0  # a list of images that takes longer is shown another time
ACTIVE_S = 180.0  # upstream's limit for its look at all pods; here, for a word of the runtime
WORDS = {"RuntimeReady": "container runtime", "NetworkReady": "container runtime network"}
NO_RANGE = "Network plugin returns error: cni plugin not initialized: this node has no pod range yet"


class Readiness:
    """``ranged`` says whether pods can be given addresses. ``version`` and ``images`` are as they were seen last."""

    def __init__(self, runtime: Runtime, ranged: Callable[[], bool] = lambda: True) -> None:
        self._runtime = runtime
        self.ranged = ranged
        self.version: tuple[str, str] | None = None
        self.images: Sequence[Image] = ()
        self._images_due = True
        self._changed = True
        self._active_at: float | None = None

    def images_changed(self) -> None:
        """The list of images is to be read anew with the next look."""
        self._images_due = True

    async def look(self) -> str:
        """Why the node is not ready; empty when it is."""
        try:
            conditions = await self._runtime.conditions()
            if self._changed:
                self.version = await self._runtime.version()
                self._changed = False
            await self._look_at_images()
        except RuntimeGone as exc:
            self._changed = True  # it may come back as another
            return _together([f"container runtime is down: {exc}", *self._inactive()])
        except RuntimeFailure as exc:
            return f"container runtime status check failed: {exc}"
        self._active_at = trio.current_time()
        missing = [condition for condition in self._with_range(conditions) if not condition.ready]
        return _together([f"{WORDS[condition.type]} not ready: {condition}" for condition in missing])

    async def _look_at_images(self) -> None:
        if not self._images_due:
            return
        with trio.move_on_after(IMAGES_S):
            self._images_due = False
            try:
                self.images = await self._runtime.images()
                return
            except RuntimeFailure:
                self._images_due = True
                raise
        self._images_due = True

    def _with_range(self, conditions: Sequence[RuntimeCondition]) -> Sequence[RuntimeCondition]:
        if self.ranged():
            return conditions
        others = [condition for condition in conditions if condition.type != "NetworkReady"]
        return [*others, RuntimeCondition("NetworkReady", False, "NetworkPluginNotReady", NO_RANGE)]

    def _inactive(self) -> list[str]:
        if self._active_at is None or trio.current_time() - self._active_at < ACTIVE_S:
            return []
        silent_s = trio.current_time() - self._active_at
        return [f"PLEG is not healthy: pleg was last seen active {_duration(silent_s)} ago; threshold is {_duration(ACTIVE_S)}"]


def _together(problems: Sequence[str]) -> str:
    return f"[{', '.join(problems)}]" if len(problems) > 1 else "".join(problems)


def _duration(seconds: float) -> str:
    """As Go writes it: ``3m2s``."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes}m{rest}s" if hours else f"{minutes}m{rest}s"
