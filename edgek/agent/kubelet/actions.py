"""What can be done for a pod, as values. ``plan.py`` chooses them, ``perform.py`` carries them out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

import attrs

from edgek.model.objects import Object


@attrs.frozen
class PrepareVolumes:
    """Mount and fill all volumes of the pod."""


@attrs.frozen
class CreateSandbox:
    attempt: int
    changed: bool = False  # there was one before, so people should hear of it


@attrs.frozen
class StartContainer:
    """Pull the image if need be, create, start, run the postStart hook."""

    name: str
    attempt: int
    back_off_s: float = 0.0  # for the next one, should this one end


@attrs.frozen
class Kill:
    """One container that has to end. ``pre_stop`` is its hook, as the API spells handlers."""

    id: str
    name: str
    grace_s: float
    pre_stop: Mapping[str, Any] | None = None


@attrs.frozen
class KillContainers:
    """End these at once. ``later`` follow one after another when those are gone; all share one grace period."""

    kills: tuple[Kill, ...]
    later: tuple[Kill, ...] = ()
    why: str = ""  # what the Killing event says; "Stopping container x" where empty


@attrs.frozen
class ResizeContainer:
    """Give a running container the resources that its spec asks for now."""

    id: str
    name: str


@attrs.frozen
class RemoveContainer:
    """A dead one: its log goes with it."""

    id: str
    name: str


@attrs.frozen
class StopSandbox:
    id: str


@attrs.frozen
class RemoveSandbox:
    id: str


@attrs.frozen
class UnmountVolumes:
    """Take down everything on the node that containers needed, volumes and cgroups."""


@attrs.frozen
class Finish:
    """The API may forget the pod: nothing of it runs any more."""


@attrs.frozen
class Forget:
    """Nothing of the pod is left on the node."""


@attrs.frozen
class Wait:
    """Look again at ``until``; meanwhile the container (or the whole pod, with an empty name) waits for this reason."""

    name: str
    until: float
    reason: str = ""
    message: str = ""


Action: TypeAlias = (
    PrepareVolumes
    | CreateSandbox
    | StartContainer
    | KillContainers
    | ResizeContainer
    | RemoveContainer
    | StopSandbox
    | RemoveSandbox
    | UnmountVolumes
    | Finish
    | Forget
    | Wait
)

Pod: TypeAlias = Object
