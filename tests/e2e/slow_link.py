"""A slow way between two network namespaces: a TUN device in each, and what goes into one comes out of the other some time later.

``python -m tests.e2e.slow_link NAMESPACE DEVICE NAMESPACE DEVICE DELAY_S``; one line on stdout says that the devices are there. They go with it.
"""

from __future__ import annotations

import fcntl
import os
import select
import struct
import sys
import time
from collections import deque

from edgek.host import netlink

TUNSETIFF = 0x400454CA
IFF_TUN, IFF_NO_PI = 0x0001, 0x1000
PACKET_MOST = 65536
WAITING_MOST = 5000  # packets on their way; what comes beside them is lost, as in any router


class Direction:
    """From one device to the other, in order."""

    def __init__(self, source: int, to: int, delay_s: float) -> None:
        self.source = source
        self._to = to
        self._delay_s = delay_s
        self._waiting: deque[tuple[float, bytes]] = deque()

    def take(self) -> None:
        try:
            packet = os.read(self.source, PACKET_MOST)
        except OSError:  # the device is down
            return
        if len(self._waiting) < WAITING_MOST:
            self._waiting.append((time.monotonic() + self._delay_s, packet))

    def deliver(self) -> float:
        """What is due; in how many seconds the next will be."""
        while self._waiting and self._waiting[0][0] <= time.monotonic():
            packet = self._waiting.popleft()[1]
            try:
                os.write(self._to, packet)
            except OSError:  # the device is down
                continue
        return max(0.0, self._waiting[0][0] - time.monotonic()) if self._waiting else 60.0


def main(near: str, near_device: str, far: str, far_device: str, delay: str) -> None:
    ends = [_device(near, near_device), _device(far, far_device)]
    ways = [Direction(ends[0], ends[1], float(delay)), Direction(ends[1], ends[0], float(delay))]
    print("ready", flush=True)
    while True:
        wait_s = min(way.deliver() for way in ways)
        readable, _, _ = select.select(ends, [], [], wait_s)
        for way in ways:
            if way.source in readable:
                way.take()


def _device(namespace: str, name: str) -> int:
    def make() -> int:
        device = os.open("/dev/net/tun", os.O_RDWR)
        fcntl.ioctl(device, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TUN | IFF_NO_PI))
        return device

    return netlink.in_namespace(f"/run/netns/{namespace}", make)


if __name__ == "__main__":
    main(*sys.argv[1:])
