"""Build the one file, by ``packaging/build.sh``. Only the standard library: this makes the environment in which the rest is built."""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from pathlib import Path

import archive
import base
import freeze
import licences
import pins
import programs
import release
import sbom
import targets

SOURCE = targets.SOURCE


def main() -> int:
    parser = argparse.ArgumentParser(prog="packaging/build.sh", description="build edgek as one file")
    parser.add_argument("--arch", choices=list(targets.ARCHITECTURES), default=targets.this_machine().name)
    parser.add_argument("--images", type=Path, help="a folder of image tars to take along")
    parser.add_argument("--with-kubectl", type=Path, metavar="FILE", help="a kubectl to take along")
    parser.add_argument("--pinned", action="store_true", help="with the packages and tools that bundled.toml names alone: the same bytes on any day")
    parser.add_argument("--sign", type=Path, metavar="KEY", help="a private Ed25519 key (PEM) to sign the file with")
    parser.add_argument("--level", type=int, default=19, choices=range(1, 20), metavar="1-19", help="of compression")
    wanted = parser.parse_args()
    arch = targets.ARCHITECTURES[wanted.arch]
    apart = wanted.pinned or arch != targets.this_machine()
    work = SOURCE / "build" / (f"{arch.name}-pinned" if wanted.pinned else arch.name)
    tree = work / "tree"
    source = sbom.source_digest(SOURCE)
    bundled = pins.load()
    try:
        _check(wanted.images, wanted.with_kubectl, arch)
        shutil.rmtree(tree, ignore_errors=True)
        public_key = release.public_key(wanted.sign) if wanted.sign else ""
        if wanted.pinned:
            base.check_tools(arch, bundled)
        os.environ["GOTOOLCHAIN"] = f"go{bundled.go_version}"
        target, tools, python = _environments(arch, work, bundled, apart=apart)
        programs.build(work, tree, bundled, target)
        freeze.freeze(work, tree, SOURCE, python, target)
        launcher = programs.launcher(work, tools, bundled, target)
        _take_along(tree, wanted.images, wanted.with_kubectl)
        _share(tree, public_key)
        parts = licences.gather(tree, python, bundled, target)
        sbom.write(tree / "sbom.json", freeze.version(SOURCE), source, parts)
        file = SOURCE / "dist" / f"edgek-{freeze.version(SOURCE)}-linux-{wanted.arch}"
        archive.pack(tree, launcher, file, level=wanted.level)
        _try(file, work, target)
        release.prepare(file, tree / "share" / "install.sh", wanted.sign)
    except (pins.BuildError, subprocess.CalledProcessError) as error:
        print(f"packaging/build.sh: {error}", file=sys.stderr)
        return 1
    print(f"{file.relative_to(SOURCE)}: {file.stat().st_size / 1e6:.1f} MB, sha256 {archive.digest(file)}")
    return 0


def _environments(arch: targets.Arch, work: Path, bundled: pins.Pins, *, apart: bool) -> tuple[targets.Target, Path, Path]:
    """What is built for; a Python with pip, of this machine's; the Python that freezes itself, which is the same where the target is this machine."""
    tools = freeze.environment(SOURCE / "build" / targets.this_machine().name, bundled)
    if not apart:
        return targets.native(arch), tools, tools
    target = targets.apart(arch, base.prepare(arch, bundled))
    return target, tools, freeze.foreign_environment(work, bundled, target, tools)


def _check(images: Path | None, kubectl: Path | None, arch: targets.Arch) -> None:
    """What is to be taken along, before minutes go by. Raises BuildError."""
    if images and not list(images.glob("*.tar*")):
        raise pins.BuildError(f"--images {images}: there is no image tar in it")
    if kubectl:
        head = kubectl.read_bytes()[:20] if kubectl.is_file() else b""
        if head[:4] != b"\x7fELF" or head[18] != arch.elf:
            raise pins.BuildError(f"--with-kubectl {kubectl} is no program for {arch.name}")


def _take_along(tree: Path, images: Path | None, kubectl: Path | None) -> None:
    if images:
        (tree / "images").mkdir()
        for image in sorted(images.glob("*.tar*")):
            shutil.copyfile(image, tree / "images" / image.name)
    if kubectl:
        shutil.copyfile(kubectl, tree / "bin" / "kubectl")
        (tree / "bin" / "kubectl").chmod(0o755)


def _share(tree: Path, public_key: str) -> None:
    """What `edgek upgrade` and `edgek uninstall` are."""
    (tree / "share").mkdir()
    for name in ("uninstall.sh", "supervise.sh"):
        shutil.copy(SOURCE / "packaging" / name, tree / "share" / name)
    release.write_installer(SOURCE / "packaging" / "install.sh", tree / "share" / "install.sh", public_key)


def _try(file: Path, work: Path, target: targets.Target) -> None:
    """The gate: the file unpacks itself and finds everything in it in order."""
    place = work / "selftest"
    shutil.rmtree(place, ignore_errors=True)
    ways = ({}, {"EDGEK_OWN_LIBC": "1"})  # by the machine's C library, and by the one that came along
    for way in ways[:1] if target.limits else ways:  # emulation has its own idea of what a loader is
        print(target.run([file, "internal-selftest"], {"EDGEK_DATA_DIR": str(place), **target.limits, **way}), end="")
    shutil.rmtree(place)


if __name__ == "__main__":
    sys.exit(main())
