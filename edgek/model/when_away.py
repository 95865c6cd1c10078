"""``edgek.io/when-away``: what becomes of a pod while its node is without the server. Pure; the server and the node read it by the same words.

``replace=300s``  the cluster replaces it after that time (what happens without the annotation, too)
``keep``          the cluster never gives it up because its node is away or not ready
``stop=10m``      the node itself stops its containers after that time without the server, and starts them again when it is back and the pod is
                  still the node's; the cluster replaces it later than that, so that never two run
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import attrs

from edgek.model import durations

ANNOTATION = "edgek.io/when-away"
MARGIN_S = 30.0  # that the cluster waits beyond the node's own time and the pod's grace period: a node may be slow to end things
STOP_LEAST_S = 30.0  # a link may be gone so long without anybody's fault
LONGEST_S = 10 * 365 * 86400.0
WAY_OUT = "say replace=TIME, keep or stop=TIME, with a time such as 300s, 10m or 1h30m"

# Whether a node is lost is told by these two taints; others that drive pods out are no matter of being away.
NOT_READY = "node.kubernetes.io/not-ready"
UNREACHABLE = "node.kubernetes.io/unreachable"


@attrs.frozen
class WhenAway:
    """``seconds`` None: without a time of its own."""

    action: Literal["replace", "keep", "stop"]
    seconds: float | None = None

    def tolerated_s(self, taint: str, grace_s: float, otherwise: float) -> float | None:
        """How long the cluster leaves the pod on a node with that taint; None for ever. ``otherwise`` where the annotation says no time.

        A node that says itself that it is not ready can be asked, so that a pod of which never two may run stays with it.
        """
        if self.action == "keep" or (self.action == "stop" and taint == NOT_READY):
            return None
        seconds = otherwise if self.seconds is None else self.seconds
        return seconds + grace_s + MARGIN_S if self.action == "stop" else seconds


def parse(text: str) -> WhenAway:
    """Raises ValueError: what is wrong, and what would do."""
    action, equals, time = text.partition("=")
    try:
        seconds = durations.parse(time) if equals else None
    except ValueError:
        raise ValueError(f"{time!r} is no time: {WAY_OUT}") from None
    if seconds is not None and seconds > LONGEST_S:
        raise ValueError("a time longer than ten years: say keep")
    match action:
        case "keep" if not equals:
            return WhenAway("keep")
        case "replace":
            return WhenAway("replace", seconds)
        case "stop":
            if seconds is None:
                raise ValueError("stop needs a time, such as stop=10m")
            if seconds < STOP_LEAST_S:
                raise ValueError(f"stop needs a time of at least {durations.spell(STOP_LEAST_S)}: a shorter outage is nothing unusual")
            return WhenAway("stop", seconds)
    raise ValueError(WAY_OUT)


def of(annotations: Mapping[str, str]) -> WhenAway | None:
    """None without the annotation, or with one that says nothing (no API lets one in)."""
    text = annotations.get(ANNOTATION)
    if text is None:
        return None
    try:
        return parse(text)
    except ValueError:
        return None


def stop_s(annotations: Mapping[str, str]) -> float | None:
    """After how long without the server a node stops the pod; None for never."""
    found = of(annotations)
    return found.seconds if found is not None and found.action == "stop" else None
