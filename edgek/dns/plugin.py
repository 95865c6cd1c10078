"""The Plugin protocol: somebody who may know the answer to a question.

The server asks its plugins in order, first all that answer from memory, then all that must wait; the first that knows is right.
"""

from __future__ import annotations

from typing import Protocol

from edgek.dns.wire import Answer, Query


class Plugin(Protocol):
    def lookup(self, query: Query) -> Answer | None:
        """From memory, at once. None: not mine, or not known yet."""
        ...

    async def resolve(self, query: Query) -> Answer | None:
        """The slow way, for questions that no plugin knew at once. None: not mine."""
        ...
