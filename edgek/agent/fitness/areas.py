"""What is looked at, in which order, and by whom it is judged."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import attrs

from edgek.agent.fitness import look, network_rules, rules
from edgek.agent.fitness.finding import Finding
from edgek.config import Config
from edgek.model.errors import UsageError


@attrs.frozen
class Area:
    """``node``: only who runs pods needs it. ``hopeless``: a start with such a problem would fail later, and say less.

    What may pass by itself, or is no worse with edgek running than without (a full disk, a wrong clock), keeps nobody from starting; a busy port
    has a message of its own.
    """

    look: Callable[[Config], Any]
    judge: Callable[[Any, Config], Iterator[Finding]]
    node: bool = True
    hopeless: bool = False


def areas(*, server: bool) -> tuple[Area, ...]:
    folders = partial(look.folders, server=server)
    return (
        Area(look.kernel, rules.kernel, hopeless=True),
        Area(look.cgroups, rules.cgroups, hopeless=True),
        Area(look.probe, network_rules.probe, hopeless=True),
        Area(look.ports, partial(network_rules.ports, server=server), node=False),
        Area(look.network, network_rules.network),
        Area(folders, rules.folders, node=False, hopeless=True),
        Area(folders, rules.room, node=False),
        Area(look.programs, rules.programs),
        Area(look.surroundings, rules.hosts),
        Area(look.surroundings, rules.surroundings, node=False),
    )


def examine(config: Config, *, server: bool) -> list[Finding]:
    return [finding for area in areas(server=server) if _concerns(area, config) for finding in area.judge(area.look(config), config)]


def refuse(config: Config, *, server: bool) -> None:
    """At a start. Raises UsageError with what makes it hopeless."""
    for area in areas(server=server):
        if area.hopeless and _concerns(area, config):
            problems = [str(finding) for finding in area.judge(area.look(config), config) if finding.level == "problem"]
            if problems:
                raise UsageError(" | ".join(problems))


def _concerns(area: Area, config: Config) -> bool:
    return not area.node or not config.disable_agent
