"""What was acknowledged survives a killed process and a power cut. A writer in a process of its own is the victim."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgek.server.store.sqlite import SqliteBackend
from tests.server.store.drafts import draft, fresh_file, key

ROOT = Path(__file__).parents[3]
STRACE = shutil.which("strace") or ""


async def test_a_killed_writer_loses_no_acknowledged_write_and_revisions_go_on(tmp_path: Path) -> None:
    newest = 0
    for run in range(2):
        path = fresh_file(tmp_path)
        acknowledged = killed_after(400, [sys.executable, "-m", "tests.server.store.writer", str(path)])
        assert min(revision(line) for line in acknowledged) > newest
        newest = max(revision(line) for line in acknowledged)
        async with SqliteBackend.open(path) as store:
            assert_all_there(store, acknowledged)
            assert store.revision >= newest, "a revision that somebody saw is never given again, not even a lease's"
            newest = store.revision
            for record in store.list("pods").records if run == 0 else ():  # the next writer gives the same names
                await store.delete(record.key, draft(), expected=record.revision)


@pytest.mark.skipif(not STRACE, reason="strace records which writes were followed by a sync")
async def test_a_power_cut_after_any_acknowledgement_loses_nothing_of_it(tmp_path: Path) -> None:
    """All that was written after the last sync of its file is thrown away, as a disk without power does."""
    path = fresh_file(tmp_path)
    files = {str(path): bytearray(path.read_bytes()), f"{path}-wal": bytearray()}
    trace = tmp_path / "trace"
    calls = "trace=write,pwrite64,ftruncate,fsync,fdatasync"
    strace = [STRACE, "-f", "-y", "-xx", "-s", "100000", "-o", str(trace), "-e", calls]
    killed_after(150, [*strace, sys.executable, "-m", "tests.server.store.writer", str(path)])

    cuts = list(power_cuts(trace.read_text(), files))
    assert len(cuts) >= 140  # the kill may come before strace has written down the last ones
    for acknowledged, left in (cuts[0], cuts[len(cuts) // 2], cuts[-1]):
        folder = tmp_path / f"after-{len(acknowledged)}"
        folder.mkdir()
        for name, content in left.items():
            (folder / Path(name).name).write_bytes(content)
        async with SqliteBackend.open(folder / path.name) as store:
            assert_all_there(store, acknowledged)
            assert store.revision >= max(revision(line) for line in acknowledged)


def killed_after(count: int, argv: list[str]) -> list[str]:
    """Run the writer until so many writes were acknowledged, then kill -9; all that it acknowledged."""
    with subprocess.Popen(argv, cwd=ROOT, start_new_session=True, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        lines = [writer.stdout.readline() for _ in range(count)]
        os.killpg(writer.pid, signal.SIGKILL)
        lines += writer.stdout.readlines()
    assert all(lines), "the writer ended by itself"
    return [line for line in lines if line.endswith("\n")]


def revision(line: str) -> int:
    return int(line.split()[3])


def assert_all_there(store: SqliteBackend, acknowledged: list[str]) -> None:
    """Each lasting object is at its acknowledged revision, or a later one whose acknowledgement was cut off."""
    last = {line.split()[2]: line for line in acknowledged if line.split()[1] == "pods"}
    assert last
    for name, line in last.items():
        found = store.get(key(name))
        if line.startswith("delete"):
            assert found is None
        elif found is None:
            assert int(name.split("-")[1]) % 3 == 0, f"{line} is lost and was never to be deleted"
        else:
            assert found.revision >= revision(line)
    there = [record.key.name for record in store.list("pods").records]
    assert set(there) >= {name for name, line in last.items() if line.startswith("put") and int(name.split("-")[1]) % 3}


def power_cuts(trace: str, files: dict[str, bytearray]) -> Iterator[tuple[list[str], dict[str, bytes]]]:
    """At each acknowledgement: all of them so far, and the files as of their last sync."""
    safe = {name: bytes(content) for name, content in files.items()}
    acknowledged: list[str] = []
    syncing: dict[str, str] = {}  # thread -> file
    for line in trace.split("\n")[:-1]:  # the last one was cut by the kill
        thread, call = line.split(maxsplit=1)
        name = decoded(found[1]) if (found := re.match(r"\w+\(\d+<([^>]*)>", call)) else ""
        if call.startswith("write(1<"):
            said = decoded(re.findall(r'"([^"]*)"', call)[0])
            if said.startswith(("put ", "delete ")):
                acknowledged.append(said)
                yield acknowledged[:], dict(safe)
        elif call.startswith(("fsync", "fdatasync")) and name in files:
            if "<unfinished" in call:
                syncing[thread] = name
            else:
                safe[name] = bytes(files[name])
        elif "sync resumed" in call and thread in syncing:
            done = syncing.pop(thread)
            safe[done] = bytes(files[done])
        elif call.startswith("pwrite64") and name in files:
            content = bytes.fromhex(re.findall(r'"([^"]*)"', call)[0].replace("\\x", ""))
            offset = int(call.rsplit("=", 1)[0].split(", ")[3].rstrip(" )").removesuffix(" <unfinished ...>"))
            put(files[name], offset, content)
        elif call.startswith("ftruncate") and name in files:
            del files[name][int(re.split(r"[ ,)]+", call)[1]) :]


def put(file: bytearray, offset: int, content: bytes) -> None:
    file.extend(bytes(max(0, offset - len(file))))
    file[offset : offset + len(content)] = content


def decoded(escaped: str) -> str:
    return bytes.fromhex(escaped.replace("\\x", "")).decode() if escaped.startswith("\\x") else escaped
