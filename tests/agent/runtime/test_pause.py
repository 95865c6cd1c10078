from __future__ import annotations

import io
import os
import shutil
import signal
import struct
import subprocess
import tarfile
import time
from pathlib import Path

import pytest

from edgek.agent.runtime import archive, pause


@pytest.mark.parametrize(("architecture", "machine"), [("amd64", 62), ("arm64", 183)])
def test_a_program_is_a_static_executable_of_its_machine(architecture: str, machine: int) -> None:
    program = pause.program(architecture)
    assert program[:4] == b"\x7fELF"
    kind, found, _, entry = struct.unpack_from("<HHIQ", program, 16)
    assert (kind, found) == (2, machine)
    assert entry - 0x400000 == 120  # behind the headers
    assert len(program) < 256


def test_the_ignored_signal_is_described_where_the_code_says() -> None:
    for architecture, code_bytes in (("amd64", 40), ("arm64", 56)):
        described = pause.program(architecture)[120 + code_bytes :]
        assert struct.unpack("<QQQQ", described) == (1, 0, 0, 0)


@pytest.mark.parametrize("architecture", ["amd64", "arm64"])
def test_it_waits_and_ends_when_killed(architecture: str, tmp_path: Path) -> None:
    program = tmp_path / "pause"
    program.write_bytes(pause.program(architecture))
    program.chmod(0o755)
    emulator = []
    if pause.ARCHITECTURES[os.uname().machine] != architecture:
        found = shutil.which({"amd64": "qemu-x86_64-static", "arm64": "qemu-aarch64-static"}[architecture])
        if found is None:
            pytest.skip(f"no emulator for {architecture} here")
        emulator = [found]
    started = subprocess.Popen([*emulator, program])
    with pytest.raises(subprocess.TimeoutExpired):
        started.wait(0.2)
    if not emulator:
        until = time.monotonic() + 20
        while not ignores(started.pid, signal.SIGCHLD):
            assert time.monotonic() < until
    started.kill()
    assert started.wait(20) == -signal.SIGKILL


def ignores(pid: int, number: int) -> bool:
    ignored = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("SigIgn"))
    return bool(int(ignored.split()[1], 16) & 1 << number - 1)


def test_the_archive_is_an_image_and_the_same_each_time() -> None:
    packed = pause.archive("x86_64")
    assert packed == pause.archive("x86_64")
    with tarfile.open(fileobj=io.BytesIO(packed)) as tar:
        contents = archive.read(tar)
    assert [image.name for image in contents.images] == [pause.REFERENCE]
    assert len(contents.blobs) == 3


def test_a_machine_without_a_program_is_an_error() -> None:
    with pytest.raises(KeyError):
        pause.archive("riscv64")
