"""Build the one file, by ``packaging/build.sh``. Only the standard library: this makes the environment in which the rest is built."""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from pathlib import Path

import archive
import freeze
import licences
import pins
import programs
import release
import sbom

SOURCE = Path(__file__).parents[2]
ARCHITECTURES = ("amd64",)


def main() -> int:
    parser = argparse.ArgumentParser(prog="packaging/build.sh", description="build edgek as one file")
    parser.add_argument("--arch", choices=ARCHITECTURES, default="amd64")
    parser.add_argument("--images", type=Path, help="a folder of image tars to take along")
    parser.add_argument("--with-kubectl", type=Path, metavar="FILE", help="a kubectl to take along")
    parser.add_argument("--sign", type=Path, metavar="KEY", help="a private Ed25519 key (PEM) to sign the file with")
    parser.add_argument("--level", type=int, default=19, help="of compression, 1 to 19")
    wanted = parser.parse_args()
    work = SOURCE / "build" / wanted.arch
    tree = work / "tree"
    shutil.rmtree(tree, ignore_errors=True)
    bundled = pins.load()
    try:
        public_key = release.public_key(wanted.sign) if wanted.sign else ""
        python = freeze.environment(work, bundled)
        programs.build(work, tree, bundled)
        freeze.freeze(work, tree, SOURCE, python)
        launcher = programs.launcher(work, python, bundled)
        _take_along(tree, wanted.images, wanted.with_kubectl)
        _share(tree, public_key)
        parts = licences.gather(tree, python, bundled)
        sbom.write(tree / "sbom.json", freeze.version(SOURCE), parts)
        target = SOURCE / "dist" / f"edgek-{freeze.version(SOURCE)}-linux-{wanted.arch}"
        archive.pack(tree, launcher, target, level=wanted.level)
        _try(target, work)
        release.prepare(target, tree / "share" / "install.sh", wanted.sign)
    except (pins.BuildError, subprocess.CalledProcessError) as error:
        print(f"packaging/build.sh: {error}", file=sys.stderr)
        return 1
    print(f"{target.relative_to(SOURCE)}: {target.stat().st_size / 1e6:.1f} MB, sha256 {archive.digest(target)}")
    return 0


def _take_along(tree: Path, images: Path | None, kubectl: Path | None) -> None:
    if images:
        found = sorted(images.glob("*.tar*"))
        if not found:
            raise pins.BuildError(f"--images {images}: there is no image tar in it")
        (tree / "images").mkdir()
        for image in found:
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


def _try(target: Path, work: Path) -> None:
    """The gate: the file unpacks itself and finds everything in it in order."""
    place = work / "selftest"
    shutil.rmtree(place, ignore_errors=True)
    subprocess.run([target, "internal-selftest"], check=True, env={"EDGEK_DATA_DIR": str(place), "PATH": "/usr/bin:/bin", "HOME": "/"})
    shutil.rmtree(place)


if __name__ == "__main__":
    sys.exit(main())
