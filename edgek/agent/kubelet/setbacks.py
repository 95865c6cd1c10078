"""What went wrong with one pod, and when the next attempt may be. Pauses double with each failure in a row, up to a minute.

Troubles have calendar times, for the plan and the API show them; what is put off as a whole goes by the clock that nobody sets.
"""

from __future__ import annotations

from collections.abc import Mapping

import trio

from edgek.agent.kubelet.lifecycle import Trouble
from edgek.agent.kubelet.starting import ActionFailed
from edgek.host import wallclock

PAUSE_FIRST_S = 1.0  # after a step that failed without a reason of its own
PAUSE_MOST_S = 60.0
DOUBLINGS_MOST = 6
STEP = ""  # among the failures: a step as such
FUTILE = "/futile"  # among the failures: a step that changed nothing


class Setbacks:
    """By what failed: a container's name, ``lifecycle.SANDBOX`` or ``VOLUMES``, or one of those above."""

    def __init__(self) -> None:
        self._troubles: dict[str, Trouble] = {}
        self._failures: dict[str, int] = {}
        self._until = 0.0

    @property
    def troubles(self) -> Mapping[str, Trouble]:
        """As they are now; not changed afterwards."""
        return dict(self._troubles)

    def failed(self, exc: ActionFailed) -> None:
        retry_at = exc.retry_at if exc.retry_at is not None else wallclock.now() + self.pause_s(exc.name)
        self._troubles[exc.name] = Trouble(exc.reason, exc.message, retry_at)

    def recovered(self, name: str) -> None:
        self._failures.pop(name, None)
        self._troubles.pop(name, None)

    def changed(self) -> None:
        """Something is different: what failed for want of it may be tried now, and its pauses go on where they were."""
        self._troubles.clear()

    def pause_s(self, name: str) -> float:
        """How long to wait after one more failure in a row of this."""
        count = self._failures[name] = self._failures.get(name, 0) + 1
        return float(min(PAUSE_FIRST_S * 2 ** min(count, DOUBLINGS_MOST), PAUSE_MOST_S))

    def put_off(self, name: str) -> float:
        """After one more failure of this, do nothing at all for a while; how long."""
        pause_s = self.pause_s(name)
        self._until = trio.current_time() + pause_s
        return pause_s

    def go_on(self) -> None:
        """Nothing is put off any more."""
        self._until = 0.0

    @property
    def left_s(self) -> float:
        """Seconds for which all is put off; none when it is not."""
        return max(0.0, self._until - trio.current_time())
