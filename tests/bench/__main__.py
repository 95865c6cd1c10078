"""Measure edgek: ``sudo tests/bench/run.sh [NAME...]``; without names everything, which takes a quarter of an hour.

What is measured stands in the modules of ``BENCHMARKS``, with the lines to reach. Nothing fails because it is slow: the table says what was missed.
Figures of a busy machine are worth little: ratios within one run, and CPU rather than wall time, are what to compare.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import platform
import sys
import time
from pathlib import Path

from tests.bench.figures import Figure, figures, table

BENCHMARKS = ("start", "rest", "pods", "api", "store", "dns", "proxy", "network", "storage", "agent", "hollow", "packed", "board")


def main() -> int:
    parser = argparse.ArgumentParser(prog="tests/bench/run.sh", description=__doc__.partition("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(BENCHMARKS)}")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")
    asked = parser.parse_args()
    unknown = set(asked.names) - set(BENCHMARKS)
    if unknown:
        parser.error(f"there is no benchmark {', '.join(sorted(unknown))}; there are {', '.join(BENCHMARKS)}")
    found: list[Figure] = []
    for name in asked.names or BENCHMARKS:
        print(f"{name} ...", file=sys.stderr, flush=True)
        module = importlib.import_module(f"tests.bench.{name}")
        found += figures(name, module.measure(), module.LINES)
    machine = _machine()
    print(table(found))
    print(f"\n{machine['cpus']} cores, load {machine['load']:.1f}, yardstick {machine['yardstick_ms']} ms")
    if asked.json:
        asked.json.write_text(json.dumps({**machine, "figures": [figure.as_json() for figure in found]}, indent=1) + "\n")
    return 0


def _machine() -> dict[str, object]:
    return {
        "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "kernel": platform.release(),
        "machine": platform.machine(),
        "cpus": os.cpu_count(),
        "python": platform.python_version(),
        "load": os.getloadavg()[0],
        "yardstick_ms": round(_yardstick_ms(), 2),
    }


def _yardstick_ms() -> float:
    """CPU of a fixed piece of work: how fast a core is just now, its neighbours being what they are. Compare runs by it."""
    began = time.process_time()
    for number in range(20):
        sorted({str(part): part * number for part in range(10_000)}.values(), reverse=True)
    return (time.process_time() - began) / 20 * 1000


if __name__ == "__main__":
    sys.exit(main())
