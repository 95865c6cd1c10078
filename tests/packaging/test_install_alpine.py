"""``install.sh`` and the launcher on a root as Alpine's: busybox, musl, OpenRC."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.packaging.alpine import AlpineLike
from tests.packaging.onefile import ONEFILE, make_tree, pack
from tests.packaging.test_install_file import CRASHES, Dist, make_key
from tests.packaging.test_onefile import LINKED, programs, targets

pytestmark = pytest.mark.root

LEFT = "ls -d /usr/local/bin/* /usr/local/lib/edgek /etc/init.d/edgek /etc/edgek /var/lib/edgek /var/log/edgek.log 2>/dev/null || true"


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Dist:
    """With a static launcher, as the real one is."""
    folder = tmp_path_factory.mktemp("alpine")
    subprocess.run(["gcc", "-O1", "-static", "-o", folder / "launch", ONEFILE / "launch.c", "-lzstd"], check=True)
    made = Dist(folder, folder / "launch", make_key(folder / "key.pem"))
    made.build("1.0")
    return made


@pytest.fixture
def alpine(dist: Dist, tmp_path: Path) -> Iterator[AlpineLike]:
    made = AlpineLike(tmp_path, dist.folder / "dist")
    yield made
    made.close()


def install(alpine: AlpineLike, flags: str = "", *, code: int = 0, **variables: str) -> str:
    return alpine.run(f"sh /opt/dist/install.sh {flags}", code=code, INSTALL_EDGEK_SKIP_SIGNATURE="1", **variables)


def test_a_program_that_is_linked_to_glibc_starts_where_there_is_musl_or_an_older_one(alpine: AlpineLike, dist: Dist, tmp_path: Path) -> None:
    tree = make_tree(dist.folder / "linked")
    subprocess.run(["gcc", "-x", "c", "-o", tree / "edgek", "-"], input=LINKED, text=True, check=True)
    programs.c_library(tree, targets.native(targets.this_machine()))
    pack(tree, dist.launcher, dist.folder / "dist" / "linked")
    assert alpine.run("ls /lib64 2>/dev/null || true") == ""
    assert alpine.run("/opt/dist/linked check 7").endswith(" 7 3 own\n")
    alpine.add_glibc()
    assert alpine.run("/opt/dist/linked check 7").endswith(" 7 3 the machine's\n")
    alpine.run("sed -i 's/release version 2.36/release version 2.31/' /lib64/ld-linux-x86-64.so.2")
    assert alpine.run("/opt/dist/linked check 7").endswith(" 7 3 own\n"), "the machine's is too old"


def test_musl_and_busybox_are_enough_to_install_it(alpine: AlpineLike) -> None:
    alpine.run("rm /sbin/openrc-run")  # Debian's wants glibc
    assert " is Ready after" in install(alpine, INSTALL_EDGEK_VERSION="1.0")
    alpine.run("edgek-uninstall")
    assert alpine.run(LEFT) == ""


def test_openrc_and_busybox_run_it_as_a_service(alpine: AlpineLike) -> None:
    alpine.add_glibc()
    said = install(
        alpine, "--node-label 'a=b $HOME `id`' --node-taint \"x='y\":NoSchedule", EDGEK_NOTE='it\'s "so", `id`', HTTPS_PROXY="http://192.0.2.9:3128"
    )
    assert "Starting the OpenRC service edgek" in said
    assert " is Ready after" in said
    started = alpine.run("cat /run/edgek-was-started").splitlines()
    assert started[0] == "ARGUMENTS server --node-label a=b $HOME `id` --node-taint x='y:NoSchedule"
    assert 'EDGEK_NOTE=it\'s "so", `id`' in started
    assert "started" in alpine.run("rc-service edgek status")
    assert "edgek" in alpine.run("rc-update show default")
    assert "Nothing changed" in install(
        alpine, "--node-label 'a=b $HOME `id`' --node-taint \"x='y\":NoSchedule", EDGEK_NOTE='it\'s "so", `id`', HTTPS_PROXY="http://192.0.2.9:3128"
    )
    process = alpine.run("cat /run/edgek/edgek.pid").strip()
    alpine.run(f"kill -9 {process}; until [ $(cat /run/edgek/edgek.pid) != {process} ]; do sleep 0.2; done")
    assert "edgek is gone" in alpine.run("edgek-uninstall")
    assert alpine.run(LEFT) == ""
    assert "sleep 600" not in alpine.run("ps")


def test_what_openrc_was_told_is_what_goes_and_the_machines_routes_stay(alpine: AlpineLike) -> None:
    alpine.add_glibc()
    alpine.run("ip link set lo up; ip route add 198.51.100.0/24 dev lo; mkdir -p /var/lib/edgek/of-somebody-else")
    assert " is Ready after" in install(alpine, "--data-dir /srv/elsewhere --node-label 'a=b c'", INSTALL_EDGEK_VERSION="1.0")
    alpine.run("mkdir -p /srv/elsewhere/agent && edgek-uninstall && test ! -e /srv/elsewhere && test -e /var/lib/edgek/of-somebody-else")
    assert "198.51.100.0/24" in alpine.run("ip route")


def test_a_crash_is_noticed_under_openrc_as_well(alpine: AlpineLike, dist: Dist) -> None:
    alpine.add_glibc()
    dist.build("2.0", CRASHES)
    said = install(alpine, code=1, INSTALL_EDGEK_VERSION="2.0")
    assert "it gave up, so it is stopped" in said
    assert "ValueError: no such thing: 7" in said
    assert "edgek" not in alpine.run("rc-update show default")


def test_without_openrc_a_supervisor_keeps_it_running(alpine: AlpineLike) -> None:
    alpine.add_glibc()
    alpine.run("rm /sbin/openrc-run")
    assert "in the background (no systemd or OpenRC here" in install(alpine, INSTALL_EDGEK_VERSION="1.0")
    process = alpine.run("cat /run/edgek/edgek.pid").strip()
    alpine.run(f"kill {process}; until [ $(cat /run/edgek/edgek.pid) != {process} ]; do sleep 0.2; done")
    alpine.run("edgek-uninstall")
    assert "sleep 600" not in alpine.run("ps")
