"""What a service manager hears on its socket."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trio

from edgek.host import systemd


@pytest.fixture
def manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "notify"))
        listener.setblocking(False)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        yield listener


def heard(manager: socket.socket) -> list[str]:
    found = []
    while True:
        try:
            found.append(manager.recv(100).decode())
        except BlockingIOError:
            return found


async def test_it_is_told_once_that_everything_is_there(manager: socket.socket, nursery: trio.Nursery) -> None:
    await nursery.start(systemd.run)
    assert heard(manager) == ["READY=1"]


async def test_a_watchdog_hears_twice_as_often_as_it_wants_to(
    manager: socket.socket, monkeypatch: pytest.MonkeyPatch, autojump_clock: Any, nursery: trio.Nursery
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "30000000")
    await nursery.start(systemd.run)
    await trio.sleep(61)
    assert heard(manager) == ["READY=1", *["WATCHDOG=1"] * 5]


async def test_another_process_is_watched_over_by_its_own_word(
    manager: socket.socket, monkeypatch: pytest.MonkeyPatch, autojump_clock: Any, nursery: trio.Nursery
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "30000000")
    monkeypatch.setenv("WATCHDOG_PID", str(os.getppid()))
    await nursery.start(systemd.run)
    await trio.sleep(61)
    assert heard(manager) == ["READY=1"]


def test_a_name_without_a_file_is_meant_by_an_at_sign(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(f"\0edgek-test-{os.getpid()}")
        listener.setblocking(False)
        monkeypatch.setenv("NOTIFY_SOCKET", f"@edgek-test-{os.getpid()}")
        systemd.notify("STOPPING=1")
        assert heard(listener) == ["STOPPING=1"]


def test_nobody_needs_to_listen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "nobody"))
    systemd.notify("READY=1")
    monkeypatch.delenv("NOTIFY_SOCKET")
    systemd.notify("READY=1")
