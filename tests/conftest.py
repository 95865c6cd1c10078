"""What a test needs of the machine, said by its marks; and the rule that CI must not skip all of a kind.

root    the real kernel: namespaces, nftables, mounts
node    containerd and runc besides
qemu    an emulated machine besides; minutes long
onefile what builds the one file, and a fresh Debian to try it on
arm64   the one file for arm64, built from this checkout (packaging/build.sh --arch arm64), and what runs it here: the tests say what is not there
"""

from __future__ import annotations

import os
import random
import shutil
import zlib

import pytest
from hypothesis import HealthCheck, settings
from trio._core import _run as trio_run

from edgek.host import wallclock

# Hypothesis tries the same examples in every run, unless a test says that it searches; and a busy machine is no reason to fail.
settings.register_profile("same", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("same")

PROGRAMS = {
    "root": ("ip", "nft"),
    "node": ("containerd", "runc", "ip", "nft", "conntrack"),
    "qemu": ("qemu-system-x86_64",),
    "onefile": ("systemd-nspawn", "debootstrap", "go", "openssl", "curl", "kubectl"),
    "arm64": ("qemu-aarch64-static", "unshare", "zstd", "kubectl"),
}
# They take minutes of their own, or a build that does: CI may leave them out, and the summary names the reason of each.
SOMETIMES = ("qemu", "onefile", "arm64")


def missing(mark: str) -> str:
    """Why tests with this mark cannot run here; empty when they can."""
    if os.geteuid() != 0:
        return "needs root"
    absent = [program for program in PROGRAMS[mark] if shutil.which(program) is None]
    return f"needs {', '.join(absent)}" if absent else ""


@pytest.fixture(autouse=True)
def one_order_for_each_test(request: pytest.FixtureRequest) -> None:
    """Trio runs tasks that are ready together in a random order: the test's name chooses which, so that what failed fails again."""
    seed = zlib.crc32(request.node.nodeid.encode())
    trio_run._r.seed(seed)
    random.seed(seed)


@pytest.fixture(autouse=True)
def nothing_is_known_of_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test saw of years to come is not the past of the next one."""
    monkeypatch.setattr(wallclock._Clock, "floor", 0.0)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    reasons = {mark: missing(mark) for mark in PROGRAMS}
    for item in items:
        for mark, reason in reasons.items():
            if reason and item.get_closest_marker(mark):
                item.add_marker(pytest.mark.skip(reason=reason))


class _Ran:
    """How many tests with each mark ran and were skipped."""

    ran: dict[str, int] = {}
    skipped: dict[str, int] = {}


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    for mark in PROGRAMS:
        if mark in report.keywords:
            if report.skipped:
                _Ran.skipped[mark] = _Ran.skipped.get(mark, 0) + 1
            elif report.when == "call":
                _Ran.ran[mark] = _Ran.ran.get(mark, 0) + 1


def pytest_sessionfinish(session: pytest.Session) -> None:
    """In CI a kind of test that was skipped as a whole is a failure: nothing was shown."""
    if not os.environ.get("CI"):
        return
    for mark, count in _Ran.skipped.items():
        if mark not in SOMETIMES and not _Ran.ran.get(mark):
            print(f"\nall {count} tests marked {mark} were skipped: {missing(mark) or 'see the reasons above'}")
            session.exitstatus = pytest.ExitCode.TESTS_FAILED
