from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgek.agent.runtime import shims
from tests.fakes.runtime import open_runtime

SOCKET = Path("/tmp/edgek-shims/containerd.sock")
# What a shim looks like from outside: its name and its flags.
PRETEND = "import sys; print(flush=True); sys.stdin.read()"


@pytest.fixture
def shim(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    (tmp_path / "address").write_text(f"unix://{tmp_path}/listens.sock")
    (tmp_path / "listens.sock").touch()
    argv = ["containerd-shim-runc-v2", "-c", PRETEND, "-namespace", "k8s.io", "-id", "abc", "-address", str(SOCKET)]
    with subprocess.Popen(argv, executable=sys.executable, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=tmp_path) as process:
        assert process.stdout
        process.stdout.readline()  # it runs: before, the kernel may not show its words yet
        yield process
        process.kill()


def test_a_shim_is_known_by_the_socket_it_reports_to(shim: subprocess.Popen[bytes]) -> None:
    (found,) = shims.running(SOCKET)
    assert (found.pid, found.id) == (shim.pid, "abc")
    assert shims.running(SOCKET.with_name("another.sock")) == []


async def test_a_former_containerds_shim_without_a_pod_is_ended(shim: subprocess.Popen[bytes], tmp_path: Path) -> None:
    (found,) = shims.running(SOCKET)
    async with open_runtime() as runtime:
        await shims.end_strays(runtime, SOCKET, found.began)
        assert shim.poll() is None, "it may be one that this containerd is about to use"
        await shims.end_strays(runtime, SOCKET, found.began + 1)
        assert shim.wait(20) == -9
        assert not (tmp_path / "listens.sock").exists()


def test_a_shim_whose_pod_is_known_stays() -> None:
    one, other = shims.Shim(1, "one", 5), shims.Shim(2, "other", 5)
    assert shims.strays([one, other], {"one"}) == [other]
