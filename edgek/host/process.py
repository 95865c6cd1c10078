"""Run a program. Nothing else in edgek starts a process.

``subprocess`` uses vfork here; a ``preexec_fn`` would fork for real beside gRPC's threads and can hang the child, so there is none.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import attrs
import trio

from edgek.host import bundled

KILLED_S = 1.0  # for a killed process to end


PACKAGES = Path(__file__).parents[2]  # where edgek is imported from


def ourselves(*arguments: str | Path) -> list[str]:
    """The command line of another edgek like this one: from the packed file, or by this Python."""
    return [*bundled.loader(), sys.executable, *([] if getattr(sys, "frozen", False) else ["-m", "edgek"]), *map(str, arguments)]


def our_environment() -> dict[str, str]:
    """In which ``ourselves`` finds edgek, wherever it is started."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, (str(PACKAGES), os.environ.get("PYTHONPATH", ""))))}


@attrs.frozen
class Finished:
    returncode: int
    stdout: bytes
    stderr: bytes


async def run(argv: Sequence[str | Path], *, stdin: bytes = b"", timeout_s: float = 60.0, env: Mapping[str, str] | None = None) -> Finished:
    """Run to the end and keep what it prints. Raises ``trio.TooSlowError`` (after killing it) and OSError when it cannot start."""
    with trio.fail_after(timeout_s):
        done = await trio.run_process([str(arg) for arg in argv], stdin=stdin, capture_stdout=True, capture_stderr=True, check=False, env=env)
    return Finished(done.returncode, done.stdout, done.stderr)


def run_now(argv: Sequence[str | Path], *, timeout_s: float = 60.0) -> Finished:
    """``run`` for what has no event loop. Raises OSError; of that TimeoutError, after killing it."""
    try:
        done = subprocess.run([str(arg) for arg in argv], stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=timeout_s)
    except subprocess.TimeoutExpired:
        raise TimeoutError(f"{argv[0]} did not end within {timeout_s:g} s") from None
    return Finished(done.returncode, done.stdout, done.stderr)


def run_or_leave(argv: Sequence[str | Path], *, timeout_s: float) -> Finished:
    """``run_now`` for what may hang in the kernel: past the deadline it is killed with its children, and left behind if even that does not end it."""
    words = [str(arg) for arg in argv]
    child = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True)
    try:
        output, errors = child.communicate(timeout=timeout_s)
    except subprocess.TimeoutExpired:
        os.killpg(child.pid, signal.SIGKILL)
        with suppress(subprocess.TimeoutExpired):
            child.wait(KILLED_S)
        for pipe in (child.stdout, child.stderr):
            if pipe is not None:
                pipe.close()
        raise TimeoutError(f"{words[0]} did not end within {timeout_s:g} s") from None
    return Finished(child.returncode, output, errors)


def start_detached(argv: Sequence[str | Path], log_file: Path, env: Mapping[str, str] | None = None) -> subprocess.Popen[bytes]:
    """Start a child in a session of its own, so that it outlives us; its output is appended to ``log_file``."""
    log_file.parent.mkdir(parents=True, exist_ok=True)
    with log_file.open("ab") as out:
        return subprocess.Popen([str(arg) for arg in argv], stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True, env=env)


def start_talking(argv: Sequence[str | Path]) -> subprocess.Popen[bytes]:
    """Start a child that answers on its standard output what it is asked on its standard input."""
    return subprocess.Popen([str(arg) for arg in argv], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
