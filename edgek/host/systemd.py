"""What a service manager is told, and what it watches over: sd_notify(3), by whatever started us with ``Type=notify``. Elsewhere nothing happens."""

from __future__ import annotations

import os
import socket

import trio

from edgek.host import log

VARIABLES = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")  # meant for one process, not for its children


def notify(state: str) -> None:
    """``READY=1``, ``STOPPING=1`` and so on. A manager that does not listen is no reason to stop."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
        try:
            sender.sendto(state.encode(), f"\0{address[1:]}" if address.startswith("@") else address)
        except OSError as exc:
            log.warning("the service manager was not told", state=state, error=exc)


async def run(*, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
    """The last of all services: everything is there. From then on the watchdog hears that the event loop turns, twice as often as it wants to."""
    notify("READY=1")
    task_status.started()
    within_us = int(os.environ.get("WATCHDOG_USEC", "0"))
    for_us = os.environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
    while within_us and for_us:
        notify("WATCHDOG=1")
        await trio.sleep(within_us / 2e6)
    await trio.sleep_forever()
