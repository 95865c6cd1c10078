"""What the file is built for: this machine's kind, with what this machine has, or in a Debian of its own, which may be of another kind: its
programs run under qemu's user emulation then.

Whatever depends on the architecture is a value in here; the steps of a build ask for it and are the same for each.
"""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

SOURCE = Path(__file__).parents[2]
SEARCH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
ENTER = Path(__file__).with_name("enter.sh")


class Arch(NamedTuple):
    name: str  # as Go and images have it, and the file's name
    kernel: str  # as the kernel and qemu have it
    triplet: str  # as compilers and Debian's folders have it
    elf: int  # e_machine
    wheels: tuple[str, ...]  # platform tags, the newest last


ARCHITECTURES = {
    each.name: each
    for each in (
        Arch("amd64", "x86_64", "x86_64-linux-gnu", 62, ("manylinux2014_x86_64", "manylinux_2_17_x86_64", "manylinux_2_28_x86_64")),
        Arch("arm64", "aarch64", "aarch64-linux-gnu", 183, ("manylinux2014_aarch64", "manylinux_2_17_aarch64", "manylinux_2_28_aarch64")),
    )
}


class Target(NamedTuple):
    arch: Arch
    root: Path  # of the Debian whose libraries go along
    gcc: tuple[str, ...]
    musl_gcc: tuple[str, ...]
    go: Mapping[str, str]  # Go's environment
    enter: tuple[str, ...] = ()  # before a command of that Debian's
    limits: Mapping[str, str] = MappingProxyType({})  # what the self-test is told of where it runs

    def command(self, words: Sequence[str | Path]) -> list[str | Path]:
        return [*self.enter, *words]

    def run(self, words: Sequence[str | Path], settings: Mapping[str, str] | None = None) -> str:
        """A program of the target's. Gives its output. Raises CalledProcessError."""
        environment = {"PATH": SEARCH, "HOME": "/", "LANG": "C.UTF-8", **(settings or {})}
        return subprocess.run(self.command(words), check=True, env=environment, stdout=subprocess.PIPE, text=True).stdout

    def packages(self, *words: str) -> str:
        """dpkg-query's answer; empty when it knows nothing."""
        command = ["dpkg-query", "--admindir", self.root / "var" / "lib" / "dpkg", *words]
        return subprocess.run(command, check=False, capture_output=True, text=True).stdout


def this_machine() -> Arch:
    return next(arch for arch in ARCHITECTURES.values() if arch.kernel == platform.machine())


def native(arch: Arch) -> Target:
    return Target(arch, Path("/"), ("gcc",), ("musl-gcc",), {**os.environ, "GOARCH": arch.name})


def apart(arch: Arch, base: Path, shared: Path = SOURCE) -> Target:
    """``base`` is what ``base.prepare`` made; its programs see the folder that is ``shared`` at its own place, and nothing else from outside."""
    root = base / "root"
    compiler = f"{arch.triplet}-gcc"
    libraries = f"{root}/usr/lib/{arch.triplet}/pkgconfig"
    go = {
        **os.environ,
        "GOARCH": arch.name,
        "CC": f"{compiler} --sysroot={root}",
        "PKG_CONFIG_LIBDIR": libraries,
        "PKG_CONFIG_SYSROOT_DIR": str(root),
    }
    enter = ("unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", str(ENTER), str(base), str(shared))
    gcc, musl_gcc = (compiler, f"--sysroot={root}"), (compiler, f"-specs={base / 'musl.specs'}")
    limits = {} if arch == this_machine() else {"EDGEK_SELFTEST_EMULATED": "1"}
    return Target(arch, root, gcc, musl_gcc, go, enter, limits)
