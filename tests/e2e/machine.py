"""An emulated Debian 12 machine with the distribution's own kernel, systemd and cgroup v2: what users run.

The root filesystem is built once into a cache folder, with packages and wheels laid in beforehand, for the machine has no network. It boots, runs one
script, prints what the script prints, and powers off. Emulated, so everything in it is 10-20 times slower than here.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from tests.e2e import images

REPOSITORY = Path(__file__).resolve().parents[2]
CACHE = Path(os.environ.get("EDGEK_TEST_CACHE", "/var/cache/edgek-tests"))
PACKAGES = (
    "systemd,systemd-sysv,udev,kmod,iproute2,procps,ca-certificates,"
    "containerd,runc,nftables,conntrack,musl-tools,gcc,libc6-dev,python3,python3-venv,kubernetes-client,nginx-light,curl,nfs-kernel-server,nfs-ganesha-vfs"
)
BARE = "systemd,systemd-sysv,dbus,iproute2,procps,kmod"  # hardly anything: no Python, no containerd, no nftables
JUDGE = ("nft", "curl")  # what a test wants of such a machine, and edgek does not
STARTED_BY_TESTS = ("nfs-server.service", "nfs-ganesha.service", "nfs-blkmap.service", "rpcbind.service", "rpcbind.socket")  # by those that want them
MODULES = (
    "virtio_ring",
    "virtio",
    "virtio_pci_modern_dev",
    "virtio_pci_legacy_dev",
    "virtio_pci",
    "virtio_blk",
)  # in the order they lean on each other
MEMORY_MB = 1024

INIT = """#!/bin/sh
/bin/busybox mount -t proc proc /proc; /bin/busybox mount -t sysfs sys /sys; /bin/busybox mount -t devtmpfs dev /dev
for module in {modules}; do /bin/busybox insmod /$module.ko; done
/bin/busybox sleep 1
/bin/busybox mount -t ext4 /dev/vda /root || exec /bin/busybox sh
exec /bin/busybox switch_root /root {init}
"""
SYSTEMD = "/lib/systemd/systemd"
BUILDERS = ("pip", "setuptools", "wheel")  # wheels that only a build needs
UNIT = """[Unit]
Description=the test
After=basic.target
[Service]
Type=oneshot
ExecStart=/bin/sh -c '/bin/sh /test.sh >/dev/ttyS0 2>&1; echo "EXIT $?" >/dev/ttyS0; systemctl --force --force poweroff'
[Install]
WantedBy=multi-user.target
"""


def run(*argv: str | Path, **options: object) -> str:
    """Run to the end; its output. A failure shows what it printed."""
    done = subprocess.run([str(arg) for arg in argv], capture_output=True, text=True, check=False, **options)  # type: ignore[call-overload]
    assert done.returncode == 0, f"{argv[0]} failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}"
    return str(done.stdout)


def base(packages: str = PACKAGES) -> Path:
    """The distribution's root with these packages, from the cache or made now (one to four minutes)."""
    key = hashlib.sha256(packages.encode()).hexdigest()[:12]
    root = CACHE / f"debian12-{key}"
    if not (root / ".ready").exists():
        shutil.rmtree(root, ignore_errors=True)
        root.mkdir(parents=True)
        run("debootstrap", "--variant=minbase", f"--include={packages}", "bookworm", root)
        shutil.rmtree(root / "var/cache/apt", ignore_errors=True)
        (root / ".ready").touch()
    return root


def kernel() -> tuple[str, Path]:
    """The release and the unpacked package of the distribution's kernel for virtual machines."""
    release = run("apt-cache", "depends", "linux-image-cloud-amd64").split("linux-image-")[-1].split()[0]
    folder = CACHE / f"kernel-{release}"
    if not (folder / "boot" / f"vmlinuz-{release}").exists():
        folder.mkdir(parents=True, exist_ok=True)
        run("apt-get", "download", f"linux-image-{release}", cwd=folder)
        run("dpkg", "-x", next(folder.glob("*.deb")), folder)
    return release, folder


def wheels() -> Path:
    """edgek's dependencies as wheels for the distribution's Python, and what builds edgek itself."""
    folder = CACHE / "wheels-{}".format(hashlib.sha256((REPOSITORY / "pyproject.toml").read_bytes()).hexdigest()[:12])
    if not (folder / ".ready").exists():
        folder.mkdir(parents=True, exist_ok=True)
        pip = (sys.executable, "-m", "pip", "-q", "--disable-pip-version-check", "download", "-d", folder, "--python-version", "3.11")
        run(*pip, "--only-binary=:all:", *_dependencies(), "setuptools>=68", "wheel")
        (folder / ".ready").touch()
    return folder


def disk(image: Path, extra: Mapping[str, Path | str], *, unpacked: bool = False) -> None:
    """An ext4 image of the base with the kernel's modules, the wheels, this checkout and ``extra`` (path in the machine: file or text).

    ``unpacked``: what edgek imports lies in ``/site``, and ``PYTHONPATH=/edgek:/site python3 -m edgek`` runs it.
    """
    root = _root(image, PACKAGES)
    run("cp", "-a", wheels(), root / "wheels")
    for wheel in (root / "wheels").glob("*.whl") if unpacked else ():
        if wheel.name.partition("-")[0] not in BUILDERS:
            zipfile.ZipFile(wheel).extractall(root / "site")
    for unit in STARTED_BY_TESTS:
        (root / "etc/systemd/system" / unit).symlink_to("/dev/null")
    checkout = root / "edgek"
    checkout.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE", "edgek", "packaging"):
        run("cp", "-a", REPOSITORY / name, checkout)
    _seal(root, image, extra)


def bare_disk(image: Path, extra: Mapping[str, Path | str]) -> None:
    """An ext4 image of a machine that has next to nothing besides its kernel, and ``extra``. ``/judge`` holds the test's own tools, on no PATH."""
    root = _root(image, BARE)
    libraries = root / "judge" / "lib"
    libraries.mkdir(parents=True)
    programs = [images.program(name) for name in JUDGE]
    for library in images.libraries(programs):
        shutil.copy(library, libraries)
    for program in programs:
        shutil.copy(program, libraries)  # with the loader and the libraries of this machine: that one has none of them
        started = root / "judge" / program.name
        started.write_text(f'#!/bin/sh\nexec /judge/lib/ld-linux-x86-64.so.2 --library-path /judge/lib /judge/lib/{program.name} "$@"\n')
        started.chmod(0o755)
    _seal(root, image, extra)


def _root(image: Path, packages: str) -> Path:
    """A copy of the base beside the image to be, with the kernel's modules."""
    release, modules = kernel()
    root = image.with_suffix(".root")
    shutil.rmtree(root, ignore_errors=True)
    run("cp", "-a", "--reflink=auto", base(packages), root)
    run("cp", "-a", modules / "lib" / "modules", root / "usr/lib/")
    run("chroot", root, "depmod", release)
    return root


def _seal(root: Path, image: Path, extra: Mapping[str, Path | str]) -> None:
    """The root becomes the image, and is removed."""
    for place, content in extra.items():
        target = root / place.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, Path):
            shutil.copy(content, target)
        else:
            target.write_text(content)
    (root / "etc/systemd/system/test.service").write_text(UNIT)
    (root / "etc/hostname").write_text("box\n")
    (root / "etc/hosts").write_text("127.0.0.1 localhost box\n")  # minbase leaves it out; an installed Debian has it
    run("systemctl", "--root", root, "enable", "test.service") if shutil.which("systemctl") else _enable(root)
    run("mkfs.ext4", "-q", "-F", "-d", root, image, "6G")
    shutil.rmtree(root)


def initial(path: Path, init: str = SYSTEMD) -> Path:
    """The first root: busybox and the drivers of the disk. ``init`` is run as the machine's first process then."""
    release, folder = kernel()
    root = path.with_suffix(".dir")
    for name in ("bin", "proc", "sys", "dev", "root"):
        (root / name).mkdir(parents=True, exist_ok=True)
    shutil.copy(shutil.which("busybox") or "/bin/busybox", root / "bin/busybox")
    (root / "bin/sh").unlink(missing_ok=True)
    (root / "bin/sh").symlink_to("busybox")
    found = []
    for module in MODULES:
        for file in (folder / "lib/modules" / release).rglob(f"{module}.ko"):
            shutil.copy(file, root / file.name)
            found.append(module)
    (root / "init").write_text(INIT.format(modules=" ".join(found), init=init))
    (root / "init").chmod(0o755)
    run("sh", "-c", f"cd {root} && find . | cpio -o -H newc --quiet | gzip -1 >{path}")
    shutil.rmtree(root)
    return path


def boot(image: Path, first: Path, timeout_s: float) -> Iterator[str]:
    """Boot and yield the console's lines until the machine is off. Raises AssertionError when it takes longer than ``timeout_s``."""
    release, folder = kernel()
    argv = ["timeout", str(timeout_s), "qemu-system-x86_64", "-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2", "-m", str(MEMORY_MB)]
    argv += ["-nodefaults", "-no-reboot", "-display", "none", "-serial", "stdio", "-kernel", str(folder / "boot" / f"vmlinuz-{release}")]
    argv += [
        "-initrd",
        str(first),
        "-append",
        "console=ttyS0 quiet panic=-1 net.ifnames=0 systemd.show_status=0 systemd.mask=serial-getty@ttyS0.service",
    ]
    argv += ["-drive", f"file={image},if=virtio,format=raw,cache=unsafe"]
    argv += ["-netdev", "user,id=net,restrict=on", "-device", "virtio-net-pci,netdev=net"]  # a card that leads nowhere
    with subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, errors="replace") as machine:
        assert machine.stdout is not None
        for line in machine.stdout:
            yield line.rstrip()
    assert machine.returncode != 124, f"the machine was still running after {timeout_s} s"


def _dependencies() -> list[str]:
    import tomllib

    found: list[str] = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["dependencies"]
    return found


def _enable(root: Path) -> None:
    wants = root / "etc/systemd/system/multi-user.target.wants"
    wants.mkdir(parents=True, exist_ok=True)
    (wants / "test.service").symlink_to("/etc/systemd/system/test.service")
