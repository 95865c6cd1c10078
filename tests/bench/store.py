"""What the store costs: CPU per durable write, bytes of flash per update, memory per object, time to load, and a change's way to 1000 watchers.

``python -m tests.bench.store [FOLDER]`` prints it; a folder on the disk in question says more than one in memory.
"""

from __future__ import annotations

import gc
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import orjson
import trio

from edgek.server.store.backend import Draft, Event, Key
from edgek.server.store.memory import MemoryBackend
from edgek.server.store.sqlite import SqliteBackend
from tests.bench.figures import Line

LINES: dict[str, Line] = {}  # the lines stand with the requests that end here: api.py
BODY_BYTES = 3700  # a Pod with its status
WRITES = 2000
OBJECTS = 10_000
WATCHERS = 1000


def pod(name: str) -> Draft:
    """A draft as large as a Pod, with a Pod's labels and selectable fields."""
    labels = {"app": "web", "pod-template-hash": "6d4cf56db6"}
    fields = {"spec.nodeName": "node-1", "spec.restartPolicy": "Always", "status.phase": "Running", "status.podIP": f"10.42.0.{len(name)}"}
    padding = "x" * BODY_BYTES
    return Draft("0" * 36, labels, fields, lambda revision: orjson.dumps({"name": name, "revision": revision, "padding": padding}))


def measure(folder: Path | None = None) -> dict[str, float]:
    """All numbers by name, the unit at its end."""
    with tempfile.TemporaryDirectory(dir=folder, prefix="edgek-bench-") as scratch:
        return trio.run(_measure, Path(scratch))


async def _measure(folder: Path) -> dict[str, float]:
    # Filled by another process: memory that this one has freed already would hide what loading takes.
    filling = f"import trio, pathlib; from tests.bench.store import _fill; trio.run(_fill, pathlib.Path({str(folder / 'load.db')!r}))"
    await trio.run_process([sys.executable, "-c", filling], cwd=Path(__file__).parents[2])
    found = await _load(folder / "load.db")
    for callers in (1, 64):
        async with SqliteBackend.open(folder / f"{callers}.db") as store:
            found |= _named(f"create_{callers}", await _timed(_create, store, callers))
            before = _written_bytes()
            await _update(store, callers)
        found[f"update_{callers}_kb"] = (_written_bytes() - before) / WRITES / 1024
    memory = MemoryBackend()
    found |= _named("memory_create", await _timed(_create, memory, 1))
    return found | await _fan_out()


async def _timed(work: Callable[..., Awaitable[None]], *args: object) -> dict[str, float]:
    """Per write."""
    wall, cpu = time.perf_counter(), time.process_time()
    await work(*args)
    return {"wall_us": (time.perf_counter() - wall) / WRITES * 1e6, "cpu_us": (time.process_time() - cpu) / WRITES * 1e6}


def _named(prefix: str, values: dict[str, float]) -> dict[str, float]:
    return {f"{prefix}_{name}": value for name, value in values.items()}


async def _create(store: SqliteBackend | MemoryBackend, callers: int) -> None:
    async def one(caller: int) -> None:
        for number in range(WRITES // callers):
            name = f"web-{caller}-{number}"
            await store.create(Key("pods", "default", name), pod(name))

    async with trio.open_nursery() as nursery:
        for caller in range(callers):
            nursery.start_soon(one, caller)


async def _update(store: SqliteBackend, callers: int) -> None:
    async def one(caller: int) -> None:
        for number in range(WRITES // callers):
            name = f"web-{caller}-{number}"
            current = store.get(Key("pods", "default", name))
            assert current is not None
            await store.update(current.key, pod(name), expected=current.revision)

    async with trio.open_nursery() as nursery:
        for caller in range(callers):
            nursery.start_soon(one, caller)


async def _fill(path: Path) -> None:
    async with SqliteBackend.open(path) as store, trio.open_nursery() as nursery:
        for number in range(OBJECTS):
            nursery.start_soon(store.create, Key("pods", "default", f"web-{number}"), pod(f"web-{number}"))
            if number % 1000 == 999:
                await store.wait_for(number)


async def _load(path: Path) -> dict[str, float]:
    """A full database is opened: how long, and what its objects weigh beyond their bodies."""
    gc.collect()
    empty, began = _resident_bytes(), time.perf_counter()
    async with SqliteBackend.open(path) as store:
        opened = time.perf_counter() - began
        resident = _resident_bytes() - empty
        bodies = sum(len(record.body) for record in store.list("pods").records)
        began = time.perf_counter()
        gc.collect()
        return {
            "load_10k_ms": opened * 1e3,
            "load_10k_mb": resident / 2**20,
            "load_10k_beyond_bodies_bytes_each": (resident - bodies) / OBJECTS,
            "full_gc_ms": (time.perf_counter() - began) * 1e3,
        }


async def _fan_out() -> dict[str, float]:
    """One change to 1000 watchers of its resource, beside 1000 of other namespaces that must cost nothing."""
    store = MemoryBackend()
    heard: list[Sequence[Event]] = []
    for number in range(WATCHERS):
        store.watch("pods", "", store.revision, heard.append)
        store.watch("pods", f"other-{number}", store.revision, heard.append)
    timed = await _timed(_create, store, 1)
    assert len(heard) == WATCHERS * WRITES
    return {"deliver_to_1000_us": timed["cpu_us"]}


def _written_bytes() -> int:
    """What this process caused to be written to disks."""
    lines = Path("/proc/self/io").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("write_bytes"))


def _resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


if __name__ == "__main__":
    for name, value in measure(Path(sys.argv[1]) if sys.argv[1:] else None).items():
        print(f"{name:36} {value:10.1f}")
