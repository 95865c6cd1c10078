"""The one file beside the checkout that it was built from: size, unpacking, start to Ready, memory at rest.

``EDGEK_PACKED`` names the file, else it is built now. Both run turn about in one run, each with the containerd that it has: the file brings 2.x.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from tests.bench.box import Box
from tests.bench.figures import at_most
from tests.bench.process import Process, resident_mb
from tests.bench.start import VERSION_ROUNDS, to_ready, version_ms
from tests.e2e.cluster import REPOSITORY, SOURCE

LINES = {
    "file_mb": at_most(60),
    "unpack_s": at_most(1.5),
    "unpack_peak_mb": at_most(40),
    "version_ms": at_most(60),
    "from_nothing_ratio": at_most(1.15),
    "resident_ratio": at_most(1),
}
ROUNDS = 5
UNPACK_ROUNDS = 3
SETTLE_S = 15.0
# A process takes the memory of the one that started it for its own until it becomes another: so it is started by a small one, that measures it.
MEASURED = "import os, sys; _, status, used = os.wait4(os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ), 0); print([status, used.ru_maxrss])"


def measure() -> dict[str, float]:
    file = _file()
    before = dict(os.environ)
    place = tempfile.mkdtemp(prefix="edgek-packed-")
    # The file unpacks to there (nodes are told where their data lies); and Python may keep what it compiled, as it does where a checkout is installed.
    os.environ |= {"EDGEK_DATA_DIR": place, "PYTHONPYCACHEPREFIX": f"{place}/compiled"}
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    try:
        found = {"file_mb": file.stat().st_size / 1e6, **_unpacking(file, Path(place))}
        for way, command in (("", [str(file)]), ("source_", SOURCE)):
            found[f"version_{way}ms"] = statistics.median([version_ms(*command) for _ in range(VERSION_ROUNDS)])
        return found | _starts(file) | _at_rest(file)
    finally:
        os.environ.clear()
        os.environ.update(before)
        shutil.rmtree(place)


def _file() -> Path:
    if "EDGEK_PACKED" in os.environ:
        return Path(os.environ["EDGEK_PACKED"])
    subprocess.run([REPOSITORY / "packaging" / "build.sh"], check=True, stdout=sys.stderr)
    return max((REPOSITORY / "dist").glob("edgek-*-linux-amd64"), key=lambda built: built.stat().st_mtime)


def _unpacking(file: Path, place: Path) -> dict[str, float]:
    """All of the first call; what ``--version`` itself takes is in it."""
    took, peak = [], []
    for _ in range(UNPACK_ROUNDS):
        shutil.rmtree(place / "dist", ignore_errors=True)
        os.sync()  # what others wrote is not for the file to wait for
        began = time.monotonic()
        done = subprocess.run([sys.executable, "-I", "-S", "-c", MEASURED, file, "--version"], check=True, capture_output=True, text=True)
        took.append(time.monotonic() - began)
        status, resident_kb = json.loads(done.stdout.splitlines()[-1])
        assert status == 0, done.stderr
        peak.append(resident_kb / 1024)
    return {"unpack_s": statistics.median(took), "unpack_peak_mb": max(peak)}


def _box(command: Sequence[str]) -> Box:
    box = Box()
    box.cluster.command = command
    return box


def _starts(file: Path) -> dict[str, float]:
    took: dict[tuple[str, str], list[float]] = {}
    for number in range(ROUNDS + 1):
        for way, command in (("packed", [str(file)]), ("source", SOURCE)):
            measured = _start_twice(_box(command))
            for name, seconds in measured.items() if number else ():  # the first round fills caches
                took.setdefault((name, way), []).append(seconds)
    found: dict[str, float] = {}
    for name in ("from_nothing", "from_nothing_cpu", "warm"):
        packed, source = (statistics.median(took[name, way]) for way in ("packed", "source"))
        found |= {f"{name}_packed_s": packed, f"{name}_source_s": source, f"{name}_ratio": packed / source}
    return found


def _start_twice(box: Box) -> dict[str, float]:
    try:
        nothing = to_ready(box)
        cpu = box.server.cpu_s()
        box.cluster.stop()
        return {"from_nothing": nothing, "from_nothing_cpu": cpu, "warm": to_ready(box)}  # containerd was left running
    finally:
        box.cluster.remove()


def _at_rest(file: Path) -> dict[str, float]:
    """Of edgek and what it keeps running for itself; containerd is another matter."""
    packed, source = _box([str(file)]), _box(SOURCE)
    try:
        for box in (packed, source):
            to_ready(box)
        time.sleep(SETTLE_S)
        helpers = _helpers(packed)
        memory = {way: box.server.memory_mb() for way, box in (("packed", packed), ("source", source))}
        found = {f"{kind}_{way}_mb": memory[way][kind] for kind in ("resident", "anonymous") for way in memory}
        found["helper_mb"] = resident_mb(helpers)
        found["helper_anonymous_mb"] = sum(helper.memory_mb()["anonymous"] for helper in helpers)
        found["resident_ratio"] = (memory["packed"]["resident"] + found["helper_mb"]) / memory["source"]["resident"]
        return found | {f"containerd_{way}_mb": box.containerd.memory_mb()["resident"] for way, box in (("packed", packed), ("source", source))}
    finally:
        for box in (packed, source):
            box.cluster.remove()


def _helpers(box: Box) -> list[Process]:
    """The server's children, containerd aside."""
    children = Path(f"/proc/{box.server.pid}/task/{box.server.pid}/children").read_text().split()
    return [process for process in map(Process, map(int, children)) if process != box.containerd]
