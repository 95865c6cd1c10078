"""A Debian to build in, of this machine's architecture or another: laid out once from the packages in ``bundled.toml``, and kept.

It is the oldest that is served (glibc 2.36). Compilers are this machine's; what runs in there, under emulation, is Python, which freezes itself.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import debian
import targets
from archive import digest
from pins import BuildError, Pins
from targets import Arch

CACHE = Path(os.environ.get("EDGEK_BUILD_CACHE", "/var/cache/edgek-build"))
EMULATORS = Path("/proc/sys/fs/binfmt_misc")
LAYOUT = "1"  # another one makes what is kept anew
# What is linked with, what is run; and without what it needs (gcc), which is not run in there.
PACKAGES = ("python3", "libpython3.11", "binutils", "libc-bin", "bash", "coreutils", "dash", "libc6-dev", "libseccomp-dev", "libnftables-dev")
ALONE = ("musl-dev",)


def prepare(arch: Arch, pins: Pins) -> Path:
    """The folder with ``root`` in it. Raises BuildError."""
    wanted = pins.debian.get(arch.name)
    if not wanted:
        raise BuildError(f"bundled.toml names no packages to build for {arch.name} with")
    if os.geteuid() != 0:
        raise BuildError("--pinned, and a build for another kind of machine, need root: they run in a Debian of their own")
    if arch != targets.this_machine() and not (EMULATORS / f"qemu-{arch.kernel}").exists():
        raise BuildError(f"this kernel starts no programs for {arch.name}: install qemu-user-static and binfmt-support, then run packaging/build.sh")
    folder = place(arch, pins)
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # another build may be about to make it
        if not folder.exists():
            _make(folder, arch, wanted)
    return folder


def check_tools(arch: Arch, pins: Pins) -> None:
    """What compiles and compresses is this machine's, and other versions make other bytes. Raises BuildError."""
    for name, version in pins.tools[arch.name].items():
        done = subprocess.run(["dpkg-query", "-W", "-f", "${Version}", name], check=False, capture_output=True, text=True)
        if done.stdout != version:
            raise BuildError(f"--pinned wants {name} {version}, and {done.stdout or 'none'} is installed: sudo apt-get install {name}={version}")


def place(arch: Arch, pins: Pins) -> Path:
    """Where it is kept: of its own for each list of packages."""
    listed = "".join(f"{name}={pin['version']} {pin['sha256']}\n" for name, pin in sorted(pins.debian[arch.name].items()))
    return CACHE / f"{arch.name}-{hashlib.sha256((LAYOUT + listed).encode()).hexdigest()[:12]}"


def _make(folder: Path, arch: Arch, wanted: dict[str, dict[str, str]]) -> None:
    archives = CACHE / "archives"
    packages = _fetch(archives, arch, wanted)
    fresh = folder.with_name(f".{folder.name}.new")
    debian.empty(fresh)
    debian.lay_out(fresh / "root", packages)
    (fresh / "inside").mkdir()  # where ENTER puts it together
    subprocess.run(["chroot", fresh / "root", "ldconfig"], check=True)
    _compile(fresh / "root")
    specs = fresh / "root" / "usr" / "lib" / arch.triplet.replace("gnu", "musl") / "musl-gcc.specs"
    (fresh / "musl.specs").write_text(re.sub(r"/usr/(include|lib)/", rf"{folder}/root/usr/\1/", specs.read_text()))
    for former in CACHE.glob(f"{arch.name}-*"):
        shutil.rmtree(former)
    fresh.rename(folder)


def _compile(root: Path) -> None:
    """Python's library, by this machine's Python, which is of the same version: under emulation each start would do it anew."""
    library = root / "usr" / "lib" / "python3.11"
    options = ("-q", "-s", root, "-p", "/", "--invalidation-mode", "unchecked-hash")
    subprocess.run([sys.executable, "-m", "compileall", *options, library], check=True)


def _fetch(archives: Path, arch: Arch, wanted: dict[str, dict[str, str]]) -> list[Path]:
    """The pinned packages, from before or from Debian."""
    files = {name: archives / f"{pin['sha256']}.deb" for name, pin in wanted.items()}
    absent = [f"{name}={wanted[name]['version']}" for name, file in files.items() if not file.exists()]
    if absent:
        folder = CACHE / "apt"
        debian.empty(folder)
        fetched = folder / "fetched"
        try:
            debian.Apt(folder, arch.name).download(absent, fetched)
        except subprocess.CalledProcessError as error:
            said = str(error.stderr).strip().splitlines()
            raise BuildError(
                f"Debian has not what bundled.toml wants ({said[-1] if said else error}): run pin.py, or give apt snapshot.debian.org as a source"
            ) from error
        archives.mkdir(exist_ok=True)
        for file in fetched.iterdir():
            file.rename(archives / f"{digest(file)}.deb")
        debian.empty(folder)
    for name, file in files.items():
        if not file.exists() or digest(file) != wanted[name]["sha256"]:
            raise BuildError(f"{name} {wanted[name]['version']} from Debian has not the checksum that bundled.toml wants")
    return list(files.values())


def pin(arch: Arch, folder: Path) -> dict[str, tuple[str, str]]:
    """What is newest today: version and checksum by name."""
    apt = debian.Apt(folder, arch.name)
    fetched = folder / "fetched"
    apt.download([*apt.resolve(PACKAGES), *ALONE], fetched)
    return {debian.field(file, "Package"): (debian.field(file, "Version"), digest(file)) for file in fetched.iterdir()}
