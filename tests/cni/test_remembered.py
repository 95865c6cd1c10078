from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import pytest

from edgek.cni import remembered
from edgek.cni.backend import Peer
from edgek.cni.remembered import Remembered

KNOWN = Remembered(IPv4Network("10.42.1.0/24"), [Peer("two", IPv4Address("192.0.2.2"), IPv4Network("10.42.2.0/24"), "null")])


def test_what_was_written_is_read(tmp_path: Path) -> None:
    remembered.write(tmp_path / "deep" / "network.json", KNOWN)
    assert remembered.read(tmp_path / "deep" / "network.json") == KNOWN


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"pod_range":"10.42.1.0/24"}', b'{"pod_range":"x","peers":[]}'])
def test_a_file_that_is_damaged_is_as_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "network.json").write_bytes(content)
    assert remembered.read(tmp_path / "network.json") == Remembered()
    assert remembered.read(tmp_path / "absent") == Remembered()
