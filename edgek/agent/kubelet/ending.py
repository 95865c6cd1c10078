"""Ending containers: preStop hooks first, then the signal, all within one grace period."""

from __future__ import annotations

import attrs
import trio

from edgek.agent.kubelet.actions import Kill, KillContainers
from edgek.agent.kubelet.handlers import Target, ask
from edgek.agent.kubelet.lifecycle import Seen, field_path, members
from edgek.agent.kubelet.settings import KubeletSettings
from edgek.agent.runtime.runtime import Runtime, RuntimeFailure
from edgek.client.events import Recorder
from edgek.model import kinds
from edgek.model.objects import Object

SHORTEST_GRACE_S = 2.0  # every container gets at least this, as upstream


@attrs.frozen
class Ender:
    settings: KubeletSettings
    runtime: Runtime
    recorder: Recorder

    async def end(self, action: KillContainers, pod: Object | None, seen: Seen) -> None:
        """Returns when all of them are over. Raises RuntimeFailure, after the others were ended."""
        began, failures = trio.current_time(), list[RuntimeFailure]()

        async def attempt(kill: Kill) -> None:
            try:
                await self._kill(kill, kill.grace_s, action.why, pod, seen)
            except RuntimeFailure as exc:
                failures.append(exc)  # the others are ended all the same

        async with trio.open_nursery() as nursery:
            for kill in action.kills:
                nursery.start_soon(attempt, kill)
        if failures:
            raise failures[0]
        for kill in action.later:
            await self._kill(kill, kill.grace_s - (trio.current_time() - began), action.why, pod, seen)

    async def _kill(self, kill: Kill, grace_s: float, why: str, pod: Object | None, seen: Seen) -> None:
        path, began = field_path(pod or {}, kill.name), trio.current_time()
        if pod is not None:
            self.recorder.normal(kinds.POD, pod, "Killing", why or f"Stopping container {kill.name}", field_path=path)
        if kill.pre_stop and grace_s > 0:
            spec = next((m.spec for m in members(pod) if m.name == kill.name), {}) if pod else {}
            ip = seen.sandbox.ips[0] if seen.sandbox and seen.sandbox.ips else self.settings.node_ips[0]
            answer = await ask(kill.pre_stop, Target(kill.id, ip, spec), self.runtime, grace_s)
            if not answer.ok and pod is not None:
                self.recorder.warning(kinds.POD, pod, "FailedPreStopHook", "PreStopHook failed", field_path=path)
        left_s = max(grace_s - (trio.current_time() - began), SHORTEST_GRACE_S)
        await self.runtime.stop_container(kill.id, left_s)
