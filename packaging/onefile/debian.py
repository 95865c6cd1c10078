"""Packages of Debian's for another architecture, fetched and laid out from here. Nothing of theirs runs, and this machine stays as it is."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

MERGED = ("bin", "lib", "sbin")  # are links into usr
FOLDERS = ("usr/bin", "usr/lib", "usr/sbin", "etc", "proc", "sys", "dev", "tmp", "run", "root", "var/lib/dpkg/info", "var/lib/dpkg/updates")
ACCOUNTS = {"etc/passwd": "root:x:0:0:root:/root:/bin/sh\n", "etc/group": "root:x:0:\n", "etc/hosts": "127.0.0.1 localhost\n"}


class Apt:
    """An apt of its own: this machine's sources, and lists and a cache below ``folder``."""

    def __init__(self, folder: Path, architecture: str) -> None:
        self.archives = folder / "cache" / "archives"
        for each in ("state/lists/partial", "cache/archives/partial"):
            (folder / each).mkdir(parents=True, exist_ok=True)
        (folder / "state" / "status").write_text("")  # nothing is installed: whatever is wanted comes with all it needs
        settings = {
            "APT::Architecture": architecture,
            "APT::Architectures": architecture,
            "APT::Install-Recommends": "false",
            "APT::Sandbox::User": "root",  # the folder may be one that only root may enter
            "Acquire::Languages": "none",
            "Dir::State": folder / "state",
            "Dir::State::status": folder / "state" / "status",
            "Dir::Cache": folder / "cache",
        }
        (folder / "conf").write_text("".join(f'{name} "{value}";\n' for name, value in settings.items()))
        self.environment = {**os.environ, "APT_CONFIG": str(folder / "conf")}
        self._run(folder, "update")

    def resolve(self, names: Sequence[str]) -> list[str]:
        """What these need, and they: ``name=version``."""
        said = self._run(self.archives, "install", "--simulate", *names)
        return [f"{name}={version}" for name, version in re.findall(r"^Inst (\S+) \((\S+)", said, re.MULTILINE)]

    def download(self, wanted: Sequence[str], folder: Path) -> None:
        """Each is ``name`` or ``name=version``; into the folder."""
        folder.mkdir(parents=True, exist_ok=True)
        self._run(folder, "download", *wanted)

    def _run(self, where: Path, *words: str) -> str:
        command = ["apt-get", "--quiet", "--yes", *words]
        return subprocess.run(command, check=True, cwd=where, env=self.environment, capture_output=True, text=True).stdout


def field(package: Path, name: str) -> str:
    return subprocess.run(["dpkg-deb", "--field", package, name], check=True, capture_output=True, text=True).stdout.strip()


def lay_out(root: Path, packages: Sequence[Path]) -> None:
    """Their files, and for ``dpkg-query --admindir`` what belongs to whom. No script of theirs runs: what builds needs none of them."""
    for folder in FOLDERS:
        (root / folder).mkdir(parents=True)
    for name in MERGED:
        (root / name).symlink_to(f"usr/{name}")
    for name, text in ACCOUNTS.items():
        (root / name).write_text(text)
    (root / "var/lib/dpkg/info/format").write_text("1\n")  # the names of its files say the architecture where that is needed
    for package in packages:
        _unpack(root, package)
        _record(root / "var" / "lib" / "dpkg", package)


def _unpack(root: Path, package: Path) -> None:
    with subprocess.Popen(["dpkg-deb", "--fsys-tarfile", package], stdout=subprocess.PIPE) as child:
        options = ("--keep-directory-symlink", "--no-same-owner", "--warning=no-timestamp")
        subprocess.run(["tar", "--extract", "--directory", root, *options], check=True, stdin=child.stdout)
    if child.returncode:
        raise subprocess.CalledProcessError(child.returncode, child.args)


def _record(admin: Path, package: Path) -> None:
    said = subprocess.run(["dpkg-deb", "--field", package], check=True, capture_output=True, text=True).stdout
    with (admin / "status").open("a") as status:
        status.write(re.sub(r"^(Package: .*)$", r"\1\nStatus: install ok installed", said, count=1, flags=re.MULTILINE) + "\n")
    together = field(package, "Multi-Arch") == "same"
    name = field(package, "Package") + (f":{field(package, 'Architecture')}" if together else "")
    listing = subprocess.run(["dpkg-deb", "--fsys-tarfile", package], check=True, capture_output=True).stdout
    names = subprocess.run(["tar", "--list"], check=True, input=listing, capture_output=True).stdout.decode()
    files = [f"/{line.removeprefix('./').rstrip('/')}" for line in names.splitlines()]
    (admin / "info" / f"{name}.list").write_text("".join("/.\n" if file == "/" else f"{file}\n" for file in files))


def empty(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
