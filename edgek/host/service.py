"""Long-running parts in order: each starts once the one before is ready, and stops before it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import attrs
import trio

from edgek.host import log


@attrs.frozen
class Service:
    """``run`` takes ``task_status`` and calls ``started()`` when the part would answer questions."""

    name: str
    run: Callable[..., Awaitable[Any]]


async def run(services: Sequence[Service], *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
    """Run all of them until cancelled or until one fails: its error ends the others, last started first, and is raised: alone, where it is one."""
    if not services:
        task_status.started()
        await trio.sleep_forever()
    try:
        await _run(services[0], services[1:], task_status)
    except BaseExceptionGroup as group:
        if len(group.exceptions) > 1:
            raise
        _raise_as_it_was(group.exceptions[0])


async def _run(first: Service, rest: Sequence[Service], task_status: trio.TaskStatus[None]) -> None:
    async with trio.open_nursery() as nursery:
        # The first service runs below a shield that falls when the rest is gone: whatever leans on it stops before it does. Nothing does before it
        # has started, and ``start`` waits for a shielded child for ever when it is cancelled meanwhile: until then there is no shield.
        scope = trio.CancelScope()

        async def first_one(*, task_status: trio.TaskStatus[None]) -> None:
            with scope:
                try:
                    await first.run(task_status=task_status)
                except Exception:
                    log.error("service failed", service=first.name)
                    nursery.cancel_scope.cancel()
                    raise

        try:
            began = trio.current_time()
            await nursery.start(first_one)
            scope.shield = True
            log.debug("service ready", service=first.name, seconds=round(trio.current_time() - began, 3))
            await run(rest, task_status=task_status)
        finally:
            scope.cancel()


def _raise_as_it_was(error: BaseException) -> None:
    """Every service stands in a nursery of its own: a dozen groups around one error, and a traceback ends before it comes to the point."""
    context = error.__context__
    try:
        raise error
    finally:
        error.__context__ = context
        del error, context
