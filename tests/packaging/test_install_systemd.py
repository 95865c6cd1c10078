"""``install.sh`` with systemd, on a fresh Debian: what stands in for edgek there crashes, and that is noticed. The real edgek is installed in tests/e2e."""

from __future__ import annotations

import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.fresh_root import FreshRoot
from tests.packaging.box import EDGEK
from tests.packaging.onefile import ONEFILE
from tests.packaging.test_install_file import CRASHES, Dist, make_key

pytestmark = pytest.mark.onefile

TRICKY = '50% of $HOME, `id`, \\n, and it\'s "so"'
FINE = EDGEK.replace("exec sleep 600", "systemd-notify --ready --pid=$$; exec sleep 600")


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[FreshRoot]:
    subprocess.run(["gcc", "-O1", "-static", "-o", tmp_path / "launch", ONEFILE / "launch.c", "-lzstd"], check=True)
    dist = Dist(tmp_path, tmp_path / "launch", make_key(tmp_path / "key.pem"))
    dist.build("1.0", FINE)
    dist.build("2.0", CRASHES)
    (tmp_path / "box").mkdir()
    made = FreshRoot(tmp_path / "box")
    try:
        shutil.copytree(tmp_path / "dist", made.root / "opt" / "dist")
        made.boot()
        yield made
    finally:
        made.remove()


def install(machine: FreshRoot, version: str, *, code: int = 0, more: str = "") -> str:
    given = f"INSTALL_EDGEK_SKIP_SIGNATURE=1 EDGEK_READY_TIMEOUT=30 INSTALL_EDGEK_VERSION={version} EDGEK_NOTE={shlex.quote(TRICKY)} {more}"
    return machine.run(f"{given} sh /opt/dist/install.sh --note {shlex.quote(TRICKY)}", code=code)


def test_a_service_that_crashes_is_stopped_or_taken_back_and_the_unit_goes_where_it_is_told(machine: FreshRoot) -> None:
    said = install(machine, "2.0", code=1)
    assert "it gave up, so it is stopped" in said
    assert "ValueError: no such thing: 7" in said
    assert machine.run("systemctl is-enabled edgek; true").strip() == "disabled"
    machine.run("edgek-uninstall")
    assert " is Ready after" in install(machine, "1.0", more="INSTALL_EDGEK_SYSTEMD_DIR=/opt/units")
    started = machine.run("cat /run/edgek-was-started").splitlines()
    assert started[0] == f"ARGUMENTS server --note {TRICKY}"
    assert f"EDGEK_NOTE={TRICKY}" in started
    assert "Nothing changed" in install(machine, "1.0")
    said = install(machine, "2.0", code=1)
    assert "it gave up: ValueError: no such thing: 7" in said
    assert "edgek 1.0 runs again" in said
    machine.run("systemctl is-active edgek && test -e /opt/units/edgek.service && edgek-uninstall && test ! -e /opt/units/edgek.service")
    assert machine.run("systemctl is-enabled edgek 2>/dev/null; true").strip() in ("", "not-found")
