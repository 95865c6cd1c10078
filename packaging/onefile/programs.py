"""The programs that are compiled: containerd with ctr, its shim, runc, the CNI shim, the nftables helper, and what unpacks it all."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import tarfile
from pathlib import Path

from pins import BuildError, Pins
from targets import Target

HERE = Path(__file__).parent
STRIPPED = "-s -w -buildid="  # the identity that Go makes up depends on where the C libraries lie
REPRODUCIBLE = ("-trimpath", "-buildvcs=false", "-mod=readonly")
NOT_WANTED = "no_btrfs no_devmapper no_zfs static_build"  # snapshotters that nobody uses on such boards
DECODER_ONLY = ("-ffunction-sections", "-fdata-sections", "-Wl,--gc-sections", "-DZSTD_LEGACY_SUPPORT=0", "-DZSTD_DISABLE_ASM")
C_LIBRARY_DIR = "lib-c"  # glibc, for machines that have an older one, or another
C_LIBRARY = ("libc.so.6", "libm.so.6", "libdl.so.2", "libpthread.so.0", "librt.so.1", "libutil.so.1", "libresolv.so.2")
LIBRARY_DIR = "lib-nft"  # beside bin: what edgek-nft is linked with, and nobody else


def build(work: Path, tree: Path, pins: Pins, target: Target) -> None:
    """Into ``tree/bin``, ``tree/lib-nft`` and ``tree/lib-c``."""
    (tree / "bin").mkdir(parents=True)
    _containerd(work, tree, pins.modules["containerd"], target)
    _runc(tree, pins.modules["runc"], target)
    _nft(tree, list(pins.libraries), target)
    c_library(tree, target)


def _containerd(work: Path, tree: Path, pin: dict[str, object], target: Target) -> None:
    source = work / "containerd"
    shutil.rmtree(source, ignore_errors=True)
    shutil.copytree(_module(pin), source)
    subprocess.run(["chmod", "-R", "u+w", source], check=True)
    shutil.copyfile(HERE / "containerd.go", source / "cmd" / "containerd" / "main.go")
    flags = f"{STRIPPED} -X {pin['module']}/version.Version={str(pin['version']).removeprefix('v')}"
    command = ["go", "build", *REPRODUCIBLE, "-tags", NOT_WANTED, "-ldflags", flags, "-o", f"{tree / 'bin'}/"]
    subprocess.run([*command, "./cmd/containerd", "./cmd/containerd-shim-runc-v2"], check=True, cwd=source, env={**target.go, "CGO_ENABLED": "0"})
    (tree / "bin" / "ctr").symlink_to("containerd")


def _runc(tree: Path, pin: dict[str, object], target: Target) -> None:
    flags = f"{STRIPPED} -extldflags -static -X main.version={str(pin['version']).removeprefix('v')}"
    command = ["go", "build", *REPRODUCIBLE, "-tags", "seccomp netgo osusergo", "-ldflags", flags, "-o", tree / "bin" / "runc", "."]
    subprocess.run(command, check=True, cwd=_module(pin), env={**target.go, "CGO_ENABLED": "1"})


def _nft(tree: Path, packages: list[str], target: Target) -> None:
    flags = ("-lnftables", f"-Wl,-rpath,$ORIGIN/../{LIBRARY_DIR}", "-Wl,--disable-new-dtags")  # the old tag holds for what its libraries want too
    subprocess.run([*target.gcc, "-Os", "-s", "-o", tree / "bin" / "edgek-nft", HERE / "nft.c", *flags], check=True)
    (tree / LIBRARY_DIR).mkdir()
    for package in packages:
        for file in (target.root / listed.lstrip("/") for listed in target.packages("-L", package).split()):
            if ".so." in file.name and file.is_symlink():  # by the name that programs ask for
                shutil.copyfile(file.resolve(), tree / LIBRARY_DIR / file.name)
    if len(list((tree / LIBRARY_DIR).iterdir())) < len(packages):
        raise BuildError(f"not every library of edgek-nft is installed: it wants {', '.join(packages)}")


def c_library(tree: Path, target: Target) -> None:
    """With the loader that belongs to it."""
    (tree / C_LIBRARY_DIR).mkdir()
    libraries = target.root / "lib" / target.arch.triplet
    for file in (*(libraries / name for name in C_LIBRARY), *libraries.glob("ld-linux-*.so.*")):
        shutil.copyfile(file.resolve(), tree / C_LIBRARY_DIR / file.name)
    for loader in (tree / C_LIBRARY_DIR).glob("ld-linux-*"):
        loader.chmod(0o755)


def shim(target: Target, file: Path) -> None:
    """What containerd calls for a pod's network."""
    subprocess.run([*target.musl_gcc, "-Os", "-static", "-s", "-o", file, HERE.parents[1] / "edgek" / "cni" / "shim.c"], check=True)


def launcher(work: Path, python: Path, pins: Pins, target: Target) -> Path:
    """What the file begins with. ``python`` is one of this machine's."""
    source = _source(work, python, "zstandard", pins.sources["zstandard"]) / "zstd"
    file = work / "launch"
    command = [*target.musl_gcc, "-Os", "-static", "-s", *DECODER_ONLY, "-I", source, "-o", file, HERE / "launch.c", source / "zstd.c"]
    subprocess.run(command, check=True)
    return file


def _module(pin: dict[str, object]) -> Path:
    """Where Go keeps this module's source. Raises BuildError when it is not what was pinned."""
    wanted = f"{pin['module']}@{pin['version']}"
    done = subprocess.run(["go", "mod", "download", "-json", wanted], check=True, capture_output=True)
    found = json.loads(done.stdout)
    if found["Sum"] != pin["sum"]:
        raise BuildError(f"{wanted} has the checksum {found['Sum']}, and bundled.toml wants {pin['sum']}")
    return Path(found["Dir"])


def _source(work: Path, python: Path, name: str, pin: dict[str, object]) -> Path:
    """A package's unpacked source."""
    folder = work / "sources"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    wanted = f"{name}=={pin['version']}"
    options = ("--quiet", "--no-deps", "--no-binary", ":all:", "--no-build-isolation", "--dest", folder)
    subprocess.run([python, "-m", "pip", "download", *options, wanted], check=True)
    (file,) = folder.iterdir()
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    if digest != pin["sha256"]:
        raise BuildError(f"{wanted} has the checksum {digest}, and bundled.toml wants {pin['sha256']}")
    with tarfile.open(file) as archive:
        archive.extractall(folder)
    return folder / f"{name}-{pin['version']}"
