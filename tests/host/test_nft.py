"""libnftables with the real kernel, in a network namespace made for the test."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgek.host import netlink
from edgek.host.nft import LARGE_BYTES, Nft, NftError

pytestmark = pytest.mark.root

SOURCE = Path(__file__).parents[2] / "packaging" / "onefile" / "nft.c"


@pytest.fixture(scope="module")
def helper(tmp_path_factory: pytest.TempPathFactory) -> Path:
    built = tmp_path_factory.mktemp("nft") / "edgek-nft"
    if shutil.which("gcc") is None or not Path("/usr/include/nftables/libnftables.h").exists():
        pytest.skip("needs gcc and libnftables-dev")
    subprocess.run(["gcc", "-Wall", "-Wextra", "-Werror", "-o", built, SOURCE, "-lnftables"], check=True)
    return built


@pytest.fixture(params=["library", "helper"])
def nft(request: pytest.FixtureRequest) -> Iterator[Nft]:
    program = request.getfixturevalue("helper") if request.param == "helper" else None
    name = f"ek{uuid.uuid4().hex[:6]}"
    subprocess.run(["ip", "netns", "add", name], check=True)
    made = netlink.in_namespace(Path("/run/netns") / name, lambda: Nft(program))  # it stays there
    yield made
    made.close()
    subprocess.run(["ip", "netns", "del", name], check=True)


def resident_bytes() -> int:
    """Of this process and its children."""
    children = [Path("/proc") / pid / "statm" for task in Path("/proc/self/task").iterdir() for pid in (task / "children").read_text().split()]
    return sum(int(file.read_text().split()[1]) * 4096 for file in [Path("/proc/self/statm"), *children])


def test_a_program_happens_as_a_whole_or_not_at_all(nft: Nft):
    nft.run("add table ip t; add set ip t s { type ipv4_addr; }")
    with pytest.raises(NftError, match="No such file"):
        nft.run("add element ip t s { 192.0.2.1 }; delete element ip t s { 192.0.2.9 }")
    assert "192.0.2.1" not in nft.run("list set ip t s")


def test_what_a_large_program_took_is_given_back(nft: Nft):
    nft.run("add table ip t; add map ip t m { type ipv4_addr : ipv4_addr; }")
    before = resident_bytes()
    pairs = ", ".join(f"10.{n >> 16}.{n >> 8 & 255}.{n & 255} : 10.42.{n >> 8 & 255}.{n & 255}" for n in range(40_000))
    program = f"add element ip t m {{ {pairs} }}"
    assert len(program) > LARGE_BYTES
    nft.run(program)
    nft.run("add table ip u")  # the helper answers that when it has begun anew
    kept = resident_bytes() - before - 2 * len(program)  # the text, and its encoding
    assert kept < 10 * len(program), f"{kept >> 20} MB were kept"


def test_a_helper_that_ended_is_started_again(helper: Path):
    nft = Nft(helper)
    (child,) = running(helper)
    os.kill(int(child), signal.SIGKILL)
    with pytest.raises(NftError, match="started again"):
        nft.run("list tables")
    assert nft.run("list tables") is not None
    nft.close()
    nft.close()


def test_at_rest_the_helper_is_gone_until_it_is_wanted(helper: Path):
    nft = Nft(helper)
    assert running(helper)
    nft.rest()
    assert not running(helper)
    assert nft.run("list tables") is not None
    nft.close()


def test_both_ways_work_after_a_rest(nft: Nft):
    nft.rest()
    assert nft.run("list tables") is not None


def running(program: Path) -> list[str]:
    """Our children that run it."""
    children = [pid for task in Path("/proc/self/task").iterdir() for pid in (task / "children").read_text().split()]
    return [pid for pid in children if _is(pid, program)]


def _is(pid: str, program: Path) -> bool:
    return os.readlink(f"/proc/{pid}/exe") == str(program)
