"""Who wants which element: what to change in the kernel when one Service changes, without looking at the others.

Most elements have one owner. Where two want the same key (an external address of two Services, a pod behind two Services) the first holds it and the
others wait; when the holder lets go, the next takes its place. Pure bookkeeping.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import attrs

from edgek.agent.proxy.rules import Element

Place = tuple[str, str]  # map, key


@attrs.define
class Change:
    removed: list[Element] = attrs.field(factory=list)
    added: list[Element] = attrs.field(factory=list)

    def __bool__(self) -> bool:
        return bool(self.removed or self.added)


class Ledger:
    def __init__(self) -> None:
        self._held: dict[Place, str] = {}
        self._waiting: dict[Place, list[tuple[str, str]]] = {}  # owner, value
        self._owned: dict[str, tuple[Element, ...]] = {}

    def elements(self) -> Iterable[Element]:
        """All that should be in the kernel now."""
        return ((name, key, value) for (name, key), value in self._held.items())

    def owners(self) -> Iterable[str]:
        return self._owned.keys()

    def set(self, owner: str, wanted: Sequence[Element]) -> Change:
        """This owner wants exactly these elements from now on."""
        before = set(self._owned.get(owner, ()))
        change = Change()
        for element in before.difference(wanted):
            self._let_go(owner, element, change)
        for element in wanted:
            if element not in before:
                self._take(owner, element, change)
        if wanted:
            self._owned[owner] = tuple(wanted)
        else:
            self._owned.pop(owner, None)
        return change

    def _take(self, owner: str, element: Element, change: Change) -> None:
        name, key, value = element
        place = (name, key)
        if place in self._held:
            self._waiting.setdefault(place, []).append((owner, value))
        else:
            self._held[place] = value
            change.added.append(element)

    def _let_go(self, owner: str, element: Element, change: Change) -> None:
        name, key, value = element
        place = (name, key)
        waiting = self._waiting.get(place, [])
        if (owner, value) in waiting:
            waiting.remove((owner, value))
        elif waiting:
            _, following = waiting.pop(0)
            self._held[place] = following
            if following != value:
                change.removed.append(element)
                change.added.append((name, key, following))
        else:
            del self._held[place]
            change.removed.append(element)
        if not waiting:
            self._waiting.pop(place, None)
