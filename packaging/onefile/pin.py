"""Write ``bundled.toml`` anew with the versions that are newest today: ``python3 packaging/onefile/pin.py``, then look at the difference, and build.

The Python packages are what ``pyproject.toml`` leads to, and what freezes them; the other versions are named here.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

import base
import targets

PYTHON = "3.11"
GO_VERSION = "1.26.8"  # of the compiler; go fetches it where it is another one itself
GO = {"containerd": ("github.com/containerd/containerd/v2", "v2.4.2"), "runc": ("github.com/opencontainers/runc", "v1.5.2")}
SOURCES = {"zstandard": "0.23.0"}  # the package that brings zstd as one file of C
FREEZERS = ("pyinstaller==6.22.3", "setuptools==80.9.0")
LIBRARIES = {
    "libnftables1": "GPL-2.0-only",
    "libnftnl11": "GPL-2.0-or-later",
    "libmnl0": "LGPL-2.1-or-later",
    "libjansson4": "MIT",
    "libgmp10": "LGPL-3.0-or-later OR GPL-2.0-or-later",
    "libxtables12": "GPL-2.0-or-later",
}
ROOT = Path(__file__).parents[2]


def main() -> None:
    wanted = [*tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"], *FREEZERS]
    lines = ["# What the one file is made of. Written by pin.py; build.sh refuses what does not match.", ""]
    for name, pin in sorted(_python(wanted).items()):
        hashes = "".join(f'\n  "{each}",' for each in sorted(pin[1]))
        lines += [f"[python.{name}]", f'version = "{pin[0]}"', f"sha256 = [{hashes}\n]", ""]
    for name, (module, version) in GO.items():
        found = json.loads(subprocess.run(["go", "mod", "download", "-json", f"{module}@{version}"], check=True, capture_output=True).stdout)
        lines += [f"[go.{name}]", f'module = "{module}"', f'version = "{version}"', f'sum = "{found["Sum"]}"', ""]
    for name, version in SOURCES.items():
        with tempfile.TemporaryDirectory() as folder:
            _download(folder, [f"{name}=={version}"], "--no-binary", ":all:")
            (file,) = Path(folder).iterdir()
            lines += [f"[source.{name}]", f'version = "{version}"', f'sha256 = "{_digest(file)}"', ""]
    lines += ["# Debian's, beside edgek-nft and in its process only.", ""]
    for name, licence in LIBRARIES.items():
        lines += [f"[library.{name}]", f'licence = "{licence}"', ""]
    lines += ["[toolchain]", f'go = "{GO_VERSION}"', "", "# Debian's too, of the builder's: what compiles and compresses.", ""]
    for arch in targets.ARCHITECTURES.values():
        lines += _tools(arch)
    lines += ["# And what is built with in a Debian of its own: by --pinned, and for another architecture than the builder's.", ""]
    for arch in targets.ARCHITECTURES.values():
        lines += _debian(arch)
    Path(__file__).with_name("bundled.toml").write_text("\n".join(lines).rstrip() + "\n")


def _python(wanted: list[str]) -> dict[str, tuple[str, set[str]]]:
    """Versions and checksums by name: resolved once for the first architecture, the same versions for the others."""
    found: dict[str, tuple[str, set[str]]] = {}
    for arch in targets.ARCHITECTURES.values():
        exact = [f"{name}=={version}" for name, (version, _) in found.items()] or wanted
        tags = [word for platform in arch.wheels for word in ("--platform", platform)]
        with tempfile.TemporaryDirectory() as folder:
            _download(folder, exact, "--only-binary", ":all:", "--python-version", PYTHON, *tags)
            for wheel in Path(folder).iterdir():
                name, version = wheel.name.split("-")[:2]
                found.setdefault(name.lower().replace("_", "-"), (version, set()))[1].add(_digest(wheel))
    return found


def _tools(arch: targets.Arch) -> list[str]:
    """On this machine, which is an x86-64."""
    suffix = "" if arch == targets.this_machine() else f"-{arch.triplet}"
    names = (f"gcc-12{suffix}", f"binutils-{arch.triplet.replace('_', '-')}", "zstd")
    found = {
        name: subprocess.run(["dpkg-query", "-W", "-f", "${Version}", name], check=True, capture_output=True, text=True).stdout for name in names
    }
    return [f"[tools.{arch.name}]", *(f'"{name}" = "{version}"' for name, version in found.items()), ""]


def _debian(arch: targets.Arch) -> list[str]:
    with tempfile.TemporaryDirectory() as folder:
        found = base.pin(arch, Path(folder))
    return [f"[debian.{arch.name}]", *(f'"{name}" = {{ version = "{pin[0]}", sha256 = "{pin[1]}" }}' for name, pin in sorted(found.items())), ""]


def _download(folder: str, wanted: list[str], *options: str) -> None:
    subprocess.run([sys.executable, "-m", "pip", "download", "--quiet", "--dest", folder, *options, *wanted], check=True)


def _digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


if __name__ == "__main__":
    main()
