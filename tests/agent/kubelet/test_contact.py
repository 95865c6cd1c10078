"""When the server was last heard of: by a clock that nobody sets, and known to the next process."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import trio
import trio.testing

from edgek.agent.kubelet.contact import NEVER, Contact
from edgek.host import uptime


class Clock:
    now = 1000.0


@pytest.fixture
def clock() -> Iterator[Clock]:
    found = Clock()
    former = uptime.use(lambda: found.now)
    yield found
    uptime.use(former)


def test_the_silence_begins_when_the_last_answered_renewal_was_sent(clock: Clock) -> None:
    contact = Contact()
    assert contact.silent_s == NEVER
    contact.heard(998.0)
    assert contact.silent_s == 2
    assert contact.here
    clock.now = 1018.0
    assert not contact.here


@pytest.mark.parametrize("cheap", [True, False])
def test_the_next_process_knows_when_it_was(tmp_path: Path, clock: Clock, *, cheap: bool) -> None:
    file = tmp_path / "run" / "last-contact"
    contact = Contact(file, "boot-1", cheap=cheap)
    contact.heard(990.0)
    contact.heard(995.25)
    contact.keep()
    clock.now = 1100.0
    assert Contact(file, "boot-1").silent_s == 104.75
    assert Contact(file, "boot-2").silent_s == NEVER


def test_a_disk_is_not_written_while_the_server_answers(tmp_path: Path, clock: Clock) -> None:
    file = tmp_path / "last-contact"
    contact = Contact(file, "boot-1")
    contact.heard(990.0)
    assert not file.exists()
    contact.keep()
    first = file.stat().st_mtime_ns
    contact.keep()
    assert file.stat().st_mtime_ns == first


@pytest.mark.parametrize("text", ["", "boot-1", "boot-1 soon", "boot-1 5000.0", "boot-1 -3", "boot-1 nan", "\x00\x00"])
def test_what_cannot_be_read_or_cannot_be_tells_nothing(tmp_path: Path, clock: Clock, text: str) -> None:
    (tmp_path / "last-contact").write_text(text)
    assert Contact(tmp_path / "last-contact", "boot-1").silent_s == NEVER


def test_a_folder_that_cannot_be_written_stops_nobody(tmp_path: Path, clock: Clock) -> None:
    (tmp_path / "file").write_text("")
    contact = Contact(tmp_path / "file" / "last-contact", "boot-1", cheap=True)
    contact.heard(999.0)
    assert contact.here


async def test_who_waits_for_news_hears_of_the_next_answer(clock: Clock) -> None:
    contact = Contact()
    heard: list[float] = []

    async def wait() -> None:
        await contact.news()
        heard.append(contact.silent_s)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        await trio.testing.wait_all_tasks_blocked()
        contact.heard(999.0)
    assert heard == [1.0]
