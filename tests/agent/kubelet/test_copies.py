from __future__ import annotations

import os
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from edgek.agent.kubelet.copies import Copies
from edgek.host import files
from edgek.host.worker import InLine
from edgek.model import kinds
from edgek.model.objects import Object


def a_pod(phase: str = "Running", revision: str = "1", **meta: object) -> Object:
    return {
        "metadata": {"name": "web", "namespace": "default", "uid": "u1", "resourceVersion": revision, **meta},
        "spec": {"containers": [{"name": "c"}]},
        "status": {"phase": phase, "startTime": "2026-11-20T10:00:00Z"},
    }


@asynccontextmanager
async def copies_in(folder: Path) -> AsyncIterator[Copies]:
    made = Copies(folder, InLine())
    async with trio.open_nursery() as nursery:
        await nursery.start(made.run)
        yield made
        await settled()
        nursery.cancel_scope.cancel()


async def settled() -> None:
    await trio.testing.wait_all_tasks_blocked()


async def test_a_pod_is_kept_with_what_lasts(tmp_path: Path) -> None:
    async with copies_in(tmp_path / "c") as copies:
        copies.keep_pod(a_pod())
        assert len(copies.pods()) == 1  # at once
    (found,) = Copies(tmp_path / "c").pods()  # and after a restart
    assert found["spec"] == {"containers": [{"name": "c"}]}
    assert found["status"] == {"startTime": "2026-11-20T10:00:00Z"}
    assert "resourceVersion" not in found["metadata"]


async def test_only_changes_are_written(tmp_path: Path) -> None:
    file = tmp_path / "pods/u1.json"
    inodes = []
    for changed in (a_pod(), a_pod("Pending", "2"), a_pod(revision="3"), a_pod(labels={"a": "b"})):
        async with copies_in(tmp_path) as copies:
            copies.keep_pod(changed)
            copies.keep_pod(changed)
        inodes.append(file.stat().st_ino)
    assert inodes[0] == inodes[1] == inodes[2] != inodes[3]


@pytest.mark.parametrize("over", [a_pod("Succeeded"), a_pod("Failed"), a_pod(deletionTimestamp="2026-11-20T10:00:00Z")])
async def test_a_pod_that_is_over_is_not_kept(tmp_path: Path, over: Object) -> None:
    async with copies_in(tmp_path) as copies:
        copies.keep_pod(a_pod())
        await settled()
        assert (tmp_path / "pods/u1.json").exists()
        copies.keep_pod(over)
        assert copies.pods() == []
        await settled()
        assert not (tmp_path / "pods/u1.json").exists()


async def test_the_last_of_many_changes_is_what_stays(tmp_path: Path) -> None:
    async with copies_in(tmp_path) as copies:
        for number in range(5):
            copies.keep_pod(a_pod(labels={"n": str(number)}))
            copies.drop_pod("u1")
        copies.keep_pod(a_pod(labels={"n": "last"}))
    (found,) = Copies(tmp_path).pods()
    assert found["metadata"]["labels"] == {"n": "last"}


async def test_secrets_are_for_root_alone(tmp_path: Path) -> None:
    async with copies_in(tmp_path / "c") as copies:
        copies.keep_object(kinds.SECRET, {"metadata": {"name": "s", "namespace": "default"}, "data": {}})
        await settled()
        (file,) = (tmp_path / "c/objects").iterdir()
        assert (file.stat().st_mode & 0o777, (tmp_path / "c").stat().st_mode & 0o777) == (0o600, 0o700)
        assert copies.find_object(kinds.SECRET, "default", "s") is not None
        assert copies.find_object(kinds.CONFIG_MAP, "default", "s") is None
        copies.drop_object(kinds.SECRET, "default", "s")
        assert copies.find_object(kinds.SECRET, "default", "s") is None


async def test_a_disk_that_cannot_be_written_stops_nobody(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "c").write_text("a file where the folder should be")
    async with copies_in(tmp_path / "c") as copies:
        copies.keep_pod(a_pod())
        await settled()
        copies.flush()
    copies.drop_pod("u1")
    copies.flush()
    assert "cannot keep or remove copies" in capsys.readouterr().err


async def test_a_broken_copy_is_left_out(tmp_path: Path) -> None:
    os.makedirs(tmp_path / "pods")
    (tmp_path / "pods/x.json").write_text("{")
    async with copies_in(tmp_path) as copies:
        copies.keep_pod(a_pod())
        assert len(copies.pods()) == 1


class Held(InLine):
    """Writes when it is let."""

    def __init__(self) -> None:
        self.let = trio.Event()
        self.batches: list[set[str]] = []

    async def run(self, function: Callable[..., Any], *args: Any, abandon: bool = False) -> Any:
        await self.let.wait()
        self.batches.append({file.stem for file in args[0]})
        return await super().run(function, *args)


async def test_what_is_on_its_way_to_the_disk_is_seen_already(tmp_path: Path, nursery: trio.Nursery) -> None:
    held = Held()
    copies = Copies(tmp_path, held)
    await nursery.start(copies.run)
    copies.keep_pod(a_pod())
    assert [pod["metadata"]["uid"] for pod in copies.pods()] == ["u1"]
    copies.drop_pod("u1")
    assert copies.pods() == []
    held.let.set()
    await trio.testing.wait_all_tasks_blocked()
    assert not (tmp_path / "pods/u1.json").exists()


async def test_changes_that_gather_are_written_together_and_once(tmp_path: Path, nursery: trio.Nursery) -> None:
    held = Held()
    copies = Copies(tmp_path, held)
    await nursery.start(copies.run)
    for turn in range(5):
        for uid in ("a", "b"):
            copies.keep_pod(a_pod(uid=uid, labels={"turn": str(turn)}))
    await trio.testing.wait_all_tasks_blocked()
    held.let.set()
    await trio.testing.wait_all_tasks_blocked()
    assert held.batches == [{"a", "b"}]
    assert [pod["metadata"]["labels"] for pod in Copies(tmp_path).pods()] == [{"turn": "4"}, {"turn": "4"}]


async def test_what_waits_is_written_when_the_node_stops(tmp_path: Path) -> None:
    copies = Copies(tmp_path, Held())
    async with trio.open_nursery() as nursery:
        await nursery.start(copies.run)
        copies.keep_pod(a_pod())
        nursery.cancel_scope.cancel()
    assert len(Copies(tmp_path).pods()) == 1


async def test_the_loop_does_not_wait_for_the_disk(tmp_path: Path, nursery: trio.Nursery) -> None:
    wrote, token = trio.Event(), trio.lowlevel.current_trio_token()
    threads: list[threading.Thread] = []

    class Watched(Copies):
        def _write(self, batch: Any) -> Any:
            threads.append(threading.current_thread())
            token.run_sync_soon(wrote.set)
            return super()._write(batch)

    copies = Watched(tmp_path)
    await nursery.start(copies.run)
    copies.keep_pod(a_pod())
    with trio.fail_after(20):
        await wrote.wait()
    assert threads[0] is not threading.main_thread()


async def test_a_full_disk_is_said_once_and_what_waited_is_written_when_there_is_room(
    tmp_path: Path, autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(path: Path, content: bytes | str, mode: int = 0o644) -> None:
        raise OSError(28, "No space left on device")

    async with copies_in(tmp_path / "c") as copies:
        with monkeypatch.context() as patched:
            patched.setattr(files, "write_atomically", full)
            copies.keep_pod(a_pod())
            for number in range(100):
                copies.keep_object(kinds.SECRET, {"metadata": {"name": f"s{number}", "namespace": "default"}})
                await trio.sleep(60)
            assert capsys.readouterr().err.count("No space left") == 1
            assert len(copies.pods()) == 1
        await trio.sleep(61)
        assert "are kept again" in capsys.readouterr().err
    assert len(Copies(tmp_path / "c").pods()) == 1


async def test_tokens_are_written_at_first_every_six_hours_and_at_the_end(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    def on_disk() -> object:
        return (Copies(tmp_path / "c").find_token("u1", "api") or {}).get("token")

    async with copies_in(tmp_path / "c") as copies:
        for number in range(30):
            copies.keep_token("u1", "api", {"token": str(number)})
            await settled()
            assert on_disk() == str(number // 7 * 7)  # every 55 minutes: the seventh after is six hours and more later
            await trio.sleep(55 * 60)
    assert on_disk() == "29"
    async with copies_in(tmp_path / "c") as copies:
        copies.keep_pod(a_pod("Succeeded"))
    assert on_disk() is None
