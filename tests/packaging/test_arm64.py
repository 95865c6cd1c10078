"""The one file for arm64, on another kind of machine: its programs, and what runs of it under qemu's user emulation. Pods do not: that needs a kernel.

What ``packaging/build.sh --arch arm64`` left in ``dist`` is tried, if it was built from these sources; it is not built by the way, for that takes minutes.
"""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.packaging.onefile import archive, load

pytestmark = pytest.mark.arm64

base, pins, sbom, targets = (load(name) for name in ("base", "pins", "sbom", "targets"))
ARM64 = targets.ARCHITECTURES["arm64"]
REPOSITORY = Path(__file__).parents[2]
BUILD = "run packaging/build.sh --arch arm64"
GLIBC = 36  # of 2.36: Debian 12, the oldest that the README names
START_S = 60.0
LOADED, INTERPRETER = 1, 3  # kinds of program headers: what is mapped, and which dynamic linker is asked for
LARGEST_PAGE = 0x10000  # of an arm64 kernel; a Raspberry Pi 5 has 0x4000


class Built(NamedTuple):
    file: Path
    tree: Path  # what is in it


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    folder = tmp_path_factory.mktemp("tree")
    found = find(folder)
    if found is None:
        pytest.skip(f"there is no dist/edgek-*-linux-arm64 of these sources: {BUILD}")
    return found


def find(folder: Path) -> Built | None:
    """The newest in ``dist``, unpacked into the folder, if it was built from what lies here."""
    file = max((REPOSITORY / "dist").glob("edgek-*-linux-arm64"), default=None, key=lambda file: file.stat().st_mtime)
    if file is None:
        return None
    content = file.read_bytes()
    offset, size = struct.unpack_from("<QQ", content, len(content) - archive.TRAILER.size)
    unpacked = subprocess.run(["zstd", "-dc"], input=content[offset : offset + size], check=True, stdout=subprocess.PIPE).stdout
    with tarfile.open(fileobj=io.BytesIO(unpacked)) as tar:
        tar.extractall(folder, filter="fully_trusted")
    properties = json.loads((folder / "sbom.json").read_text())["metadata"]["component"].get("properties")
    if properties == [{"name": sbom.SOURCE_PROPERTY, "value": sbom.source_digest(REPOSITORY)}]:
        return Built(file, folder)
    shutil.rmtree(folder)
    folder.mkdir()
    return None


@pytest.fixture(scope="module")
def file(built: Built) -> Path:
    return built.file


@pytest.fixture(scope="module")
def tree(built: Built) -> Path:
    return built.tree


class Machine:
    """``folder`` is what both sides see."""

    def __init__(self, folder: Path, file: Path) -> None:
        self.folder, self.program = folder, folder / "edgek"
        self.target = targets.apart(ARM64, base.place(ARM64, pins.load()), folder)
        self.program.write_bytes(file.read_bytes())
        self.program.chmod(0o755)
        self.environment = {"PATH": targets.SEARCH, "HOME": "/", "EDGEK_DATA_DIR": str(folder / "data")}

    def run(self, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
        settings = self.environment | environment
        return subprocess.run(self.target.command([self.program, *words]), env=settings, capture_output=True, text=True, check=False)

    def start(self, *words: str) -> subprocess.Popen[str]:
        return subprocess.Popen(self.target.command([self.program, *words]), env=self.environment, stderr=subprocess.PIPE, text=True)


@pytest.fixture(scope="module")
def machine(file: Path, tmp_path_factory: pytest.TempPathFactory) -> Machine:
    if not (base.EMULATORS / f"qemu-{ARM64.kernel}").exists():
        pytest.skip(f"this kernel starts no programs for arm64: {BUILD}")
    if not base.place(ARM64, pins.load()).exists():
        pytest.skip(f"there is no Debian for arm64 in {base.CACHE}: {BUILD}")
    return Machine(tmp_path_factory.mktemp("machine"), file)


@pytest.fixture
def server(machine: Machine) -> Iterator[subprocess.Popen[str]]:
    """It says where it listens, on its standard error."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    places = ("--run-dir", str(machine.folder / "run"), "--write-kubeconfig", str(machine.folder / "kubeconfig"))
    started = machine.start("server", "--disable-agent", "--bind-address", "127.0.0.1", "--https-listen-port", str(port), *places)
    try:
        yield started
    finally:
        started.kill()  # and with it all that runs in there
        started.communicate()


def programs(tree: Path) -> dict[str, bytes]:
    found = {str(each.relative_to(tree)): each.read_bytes() for each in tree.rglob("*") if each.is_file() and not each.is_symlink()}
    return {name: content for name, content in found.items() if content.startswith(b"\x7fELF")}


def headers(program: bytes) -> list[tuple[int, int]]:
    """Kind and alignment of each program header."""
    (offset,) = struct.unpack_from("<Q", program, 32)
    size, count = struct.unpack_from("<HH", program, 54)
    places = range(offset, offset + count * size, size)
    return [(struct.unpack_from("<I", program, place)[0], struct.unpack_from("<Q", program, place + 48)[0]) for place in places]


def is_static(program: bytes) -> bool:
    return INTERPRETER not in dict(headers(program))


def test_whatever_is_compiled_in_it_is_for_arm64(file: Path, tree: Path) -> None:
    found = {"launcher": file.read_bytes(), **programs(tree)}
    assert {"edgek", "bin/containerd", "bin/containerd-shim-runc-v2", "bin/runc", "bin/edgek-nft", "_internal/edgek/cni/shim"} <= found.keys()
    assert {name for name, program in found.items() if struct.unpack_from("<H", program, 18) != (ARM64.elf,)} == set()


def test_what_starts_first_and_what_runs_beside_pods_needs_no_library(file: Path, tree: Path) -> None:
    found = {"launcher": file.read_bytes(), **programs(tree)}
    static = ("launcher", "bin/containerd", "bin/containerd-shim-runc-v2", "bin/runc", "_internal/edgek/cni/shim")
    assert [name for name in static if not is_static(found[name])] == []
    assert not is_static(found["edgek"])


def test_it_runs_on_kernels_with_large_pages(file: Path, tree: Path) -> None:
    found = {"launcher": file.read_bytes(), **programs(tree)}
    small = {name for name, program in found.items() for kind, alignment in headers(program) if kind == LOADED and alignment < LARGEST_PAGE}
    assert small == set()


def test_it_wants_no_newer_c_library_than_it_says(tree: Path) -> None:
    wanted = {name: {int(minor) for minor in re.findall(rb"GLIBC_2\.(\d+)", program)} for name, program in programs(tree).items()}
    assert wanted["edgek"]
    assert {name for name, minors in wanted.items() if minors and max(minors) > GLIBC and not is_static(programs(tree)[name])} == set()


def test_it_unpacks_itself_and_names_its_version(machine: Machine, file: Path) -> None:
    done = machine.run("--version")
    assert (done.stdout, done.returncode) == (f"edgek {file.name.split('-')[1]}\n", 0)


def test_check_looks_at_the_machine_and_at_what_came_along(machine: Machine) -> None:
    said = machine.run("check").stdout
    assert f"✓ kernel {os.uname().release}" in said
    assert f"✓ containerd {pins.load().modules['containerd']['version'].removeprefix('v')}" in said
    assert "✗ the kernel has no nftables" in said  # which the emulation does not pass on; so it does look


def test_everything_in_it_works_together_as_far_as_the_emulation_goes(machine: Machine) -> None:
    done = machine.run("internal-selftest", **machine.target.limits)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "libnftables is there" in done.stdout


def test_it_serves_a_kubectl_from_outside(machine: Machine, server: subprocess.Popen[str]) -> None:
    assert server.stderr is not None
    seen = ""
    for line in server.stderr:
        seen += line
        if " serving address=" in line:
            break
    assert server.poll() is None, seen

    def kubectl(*words: str) -> str:
        command = ["kubectl", "--kubeconfig", machine.folder / "kubeconfig", *words]
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=START_S).stdout

    assert json.loads(kubectl("get", "--raw", "/version"))["platform"] == "linux/arm64"
    kubectl("create", "deployment", "web", "--image=web", "--replicas=2")
    kubectl("wait", "--for=jsonpath={.status.unavailableReplicas}=2", "deployment/web")
    assert kubectl("get", "pods", "-l", "app=web", "-o", "name").count("pod/web-") == 2
    (inside,) = Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text().split()
    os.kill(int(inside), signal.SIGTERM)
    assert "stopping" in server.stderr.read()
    assert server.wait() == 0
