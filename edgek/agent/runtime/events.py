"""What happens to containers, told by containerd's events service as it happens.

Two facts of containerd shape this module. A subscription begins at some moment after it was asked for: an event of our own, published until it comes
back, tells that it has begun. And containerd's CRI part learns of an exit from the same events, a few milliseconds later: an exit is told once at
once, and once more when CRI shows it, so that whoever looks then sees the end.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable

import trio

from edgek.agent.runtime.messages_containerd import NAMESPACE, PUBLISH, SUBSCRIBE, TASK_DELETE, TASK_EVENT, TASK_EXIT
from edgek.agent.runtime.runtime import RuntimeEvent, RuntimeFailure
from edgek.host import log
from edgek.host.message import Values
from edgek.host.rpc import Channel, RpcError, Stream

MARK = "/edgek/listening"
FILTERS = tuple(f'topic=="{topic}"' for topic in ("/tasks/start", "/tasks/exit", "/tasks/delete", "/tasks/oom", MARK))
MARK_AGAIN_S = 0.05  # a subscription begins within a millisecond or two
RETRY_S = 0.25  # between attempts to reach a containerd that is away
SETTLE_STEPS_S = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.4)  # CRI writes a status file with fsync before it shows an exit

Settled = Callable[[str], Awaitable[bool]]


async def watch(channel: Channel, settled: Settled) -> AsyncGenerator[RuntimeEvent, None]:
    """For ever. An empty event says that earlier ones may have been missed: first thing, and after each gap."""
    told = False
    while True:
        stream = channel.stream(SUBSCRIBE, {"filters": FILTERS})
        try:
            early = await _begun(channel, stream)
            told = False
            yield RuntimeEvent("")
            async for envelope in _chained(early, stream):
                for event in _events(envelope):
                    if event.topic == "/tasks/delete":
                        await _wait_until(settled, event.id)
                    yield event
        except RpcError as error:
            if not told:
                log.warning("container events interrupted", why=error.details)
                told = True
        finally:
            stream.close()
        await trio.sleep(RETRY_S)


async def _begun(channel: Channel, stream: Stream) -> list[Values]:
    """Wait for our own mark. What came before it: whoever looked at the empty event may have looked before CRI showed it."""
    early: list[Values] = []
    while True:
        await channel.call(PUBLISH, {"topic": MARK, "event": {"type_url": "edgek/Mark"}}, timeout_s=5)
        with trio.move_on_after(MARK_AGAIN_S):
            async for envelope in stream:
                if envelope["topic"] == MARK:
                    return early
                early.append(envelope)
            raise RpcError("UNAVAILABLE", "containerd ended the stream of events")


async def _chained(early: list[Values], stream: Stream) -> AsyncGenerator[Values, None]:
    for envelope in early:
        yield envelope
    async for envelope in stream:
        yield envelope


def _events(envelope: Values) -> list[RuntimeEvent]:
    """None for another namespace, for a mark, or for the end of an exec."""
    topic, content = envelope["topic"], (envelope["event"] or {}).get("value", b"")
    if envelope["namespace"] != NAMESPACE["containerd-namespace"] or topic == MARK:
        return []
    if topic not in ("/tasks/exit", "/tasks/delete"):
        return [RuntimeEvent(TASK_EVENT.decode(content)["container_id"], topic)]
    event = (TASK_EXIT if topic == "/tasks/exit" else TASK_DELETE).decode(content)
    if event["id"] not in ("", event["container_id"]):
        return []
    return [RuntimeEvent(event["container_id"], topic, event["exit_status"])]


async def _wait_until(settled: Settled, container_id: str) -> None:
    for pause_s in SETTLE_STEPS_S:
        try:
            if await settled(container_id):
                return
        except RuntimeFailure:
            return  # the stream will tell of it
        await trio.sleep(pause_s)
