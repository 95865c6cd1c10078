from __future__ import annotations

import pytest

from edgek.host import kernel


@pytest.mark.parametrize(
    ("release", "version"),
    [("6.18.44-fc", (6, 18)), ("5.10.0-rpi7", (5, 10)), ("4.19.1", (4, 19)), ("5.4-rc1", (5, 4)), ("strange", (99, 0))],
)
def test_versions_of_kernels_are_read(release: str, version: tuple[int, int]) -> None:
    assert kernel.version(release) == version


def test_this_kernel_can_be_read() -> None:
    assert (3, 0) < kernel.version() < (99, 0)
