"""What this node last heard of the pod network, in one small file: a node that boots without its server attaches pods and reaches the others by it.

Written when it changed, which is when a node comes, goes or gets another address.
"""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import attrs
import orjson

from edgek.cni.backend import Peer
from edgek.host import files


@attrs.frozen
class Remembered:
    pod_range: IPv4Network | None = None
    peers: Sequence[Peer] = ()


def read(file: Path) -> Remembered:
    """Nothing from a file that is not there, or that a stranger wrote. Blocks."""
    try:
        found = orjson.loads(file.read_bytes())
        peers = [Peer(each["name"], IPv4Address(each["address"]), IPv4Network(each["pod_range"]), each["data"]) for each in found["peers"]]
        return Remembered(IPv4Network(found["pod_range"]), peers)
    except (OSError, orjson.JSONDecodeError, KeyError, TypeError, ValueError):
        return Remembered()


def write(file: Path, known: Remembered) -> None:
    """Blocks for the disk."""
    files.write_atomically(file, orjson.dumps(attrs.asdict(known), default=str))
