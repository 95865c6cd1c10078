"""Whose work is in the file, under which licence, and whether that fits together.

edgek is under the Apache licence 2.0, and so is containerd: what is linked with them must allow that. The GPL's do not, so what is under one of them
stands in ``lib-nft``, for ``edgek-nft`` alone. Every text goes along in ``licences/``.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from pins import BuildError, Pins
from targets import Target

# A sentence that only this licence has, in the order in which they are looked for.
SENTENCES = (
    ("MPL-2.0", "Mozilla Public License Version 2.0"),
    ("Apache-2.0", "Apache License Version 2.0"),
    ("PSF-2.0", "PYTHON SOFTWARE FOUNDATION LICENSE VERSION 2"),
    ("ISC", "Permission to use, copy, modify, and/or distribute this software"),
    ("ISC", "Permission to use, copy, modify, and distribute this software"),
    ("BSD-3-Clause", "Neither the name of"),
    ("BSD-3-Clause", "names of its contributors may not be used"),
    ("BSD-3-Clause", "may not be used to endorse or promote products"),
    ("BSD-2-Clause", "Redistributions in binary form must reproduce the above copyright"),
    ("MIT", "Permission is hereby granted, free of charge, to any person obtaining a copy"),
    ("Unlicense", "This is free and unencumbered software released into the public domain"),
)
FIT = {name for name, _ in SENTENCES} | {"GPL-2.0-only WITH bootloader-exception", "LGPL-2.1-only", "GPL-3.0-only WITH GCC-exception-3.1", "blessing"}
# What no file in a package says in words of its own: the linked libraries of Debian's that PyInstaller takes along, and runc's.
DEBIAN = {
    "libpython3.11": "PSF-2.0",
    "libc6": "LGPL-2.1-only",
    "libstdc++6": "GPL-3.0-only WITH GCC-exception-3.1",
    "libgcc-s1": "GPL-3.0-only WITH GCC-exception-3.1",
    "libssl3": "Apache-2.0",
    "libsqlite3-0": "blessing",
    "zlib1g": "BSD-3-Clause",
    "libbz2-1.0": "BSD-3-Clause",
    "liblzma5": "Unlicense",
    "libffi8": "MIT",
    "libexpat1": "MIT",
    "libuuid1": "BSD-3-Clause",
    "libseccomp2": "LGPL-2.1-only",
}
PYINSTALLER = "pyinstaller"  # its loader is linked with what it freezes, by an exception that its GPL has for that

# Asked of the environment's own Python: name, version, folder and files of each of its packages.
DISTRIBUTIONS = """
import importlib.metadata, json
found = importlib.metadata.distributions()
print(json.dumps([[d.metadata["Name"], d.version, str(d.locate_file("")), list(map(str, d.files or ()))] for d in found]))
"""


class Part(NamedTuple):
    name: str
    version: str
    purl: str
    licence: str


def gather(tree: Path, python: Path, pins: Pins, target: Target) -> list[Part]:
    """Copy every licence to ``tree/licences``. Raises BuildError where one does not fit, or is not known."""
    folder = tree / "licences"
    folder.mkdir()
    parts = [
        *_python_packages(folder, python, tree, target),
        *_go_modules(folder, tree, pins),
        *_debian(folder, tree, pins, target),
        _zstd(folder, tree, pins),
    ]
    for part in parts:
        separate = part.name in pins.libraries
        if part.licence not in FIT and not separate:
            raise BuildError(
                f"{part.purl} is under {part.licence or 'a licence that is not recognised'}: may it be given away in one file with edgek?"
            )
    return parts


def recognise(text: str) -> str:
    """The SPDX name of the licence; empty when it is none of ours."""
    plain = re.sub(r"[\s*#>\"]+", " ", text)
    return next((name for name, sentence in SENTENCES if sentence.lower() in plain.lower().replace("license, version", "license version")), "")


def _python_packages(folder: Path, python: Path, tree: Path, target: Target) -> Iterator[Part]:
    """What PyInstaller took of the environment. Packages that only freeze or build are not in the file, save for PyInstaller's loader."""
    said = target.run([python, "-c", DISTRIBUTIONS])
    taken = (tree.parent / "pyinstaller" / "edgek" / "Analysis-00.toc").read_text()
    for name, version, place, files in json.loads(said):
        plain = name.lower().replace("_", "-")
        if plain != PYINSTALLER and not any(file.endswith((".py", ".so")) and f"{place}/{file}" in taken for file in files):
            continue
        texts = [Path(place, file) for file in files if re.search(r"dist-info/.*(licen[sc]e|copying|notice)", file, re.IGNORECASE)]
        found = _copy(texts, folder, f"python-{plain}")
        licence = "GPL-2.0-only WITH bootloader-exception" if plain == PYINSTALLER else found
        yield Part(plain, version, f"pkg:pypi/{plain}@{version}", licence)


def _copy(texts: Sequence[Path], folder: Path, name: str) -> str:
    """The licence that they are."""
    for number, text in enumerate(texts):
        shutil.copyfile(text, folder / f"{name}{number or ''}.txt")
    return next(filter(None, (recognise(text.read_text(errors="replace")) for text in texts)), "")


def _go_modules(folder: Path, tree: Path, pins: Pins) -> Iterator[Part]:
    """Go writes into a program what it is made of."""
    seen: set[tuple[str, str]] = set()
    for program in ("containerd", "containerd-shim-runc-v2", "runc"):
        done = subprocess.run(["go", "version", "-m", tree / "bin" / program], check=True, capture_output=True, text=True)
        seen.update(re.findall(r"^\t(?:dep|=>)\t(\S+)\t(\S+)", done.stdout, re.MULTILINE))
    seen.update((str(pin["module"]), str(pin["version"])) for pin in pins.modules.values())
    for module, version in sorted(seen):
        yield _go_module(folder, module, version)


def _go_module(folder: Path, module: str, version: str) -> Part:
    done = subprocess.run(["go", "mod", "download", "-json", f"{module}@{version}"], check=True, capture_output=True)
    place = Path(json.loads(done.stdout)["Dir"])
    texts = [file for file in sorted(place.iterdir()) if re.match(r"(licen[sc]e|copying)", file.name, re.IGNORECASE) and file.is_file()]
    return Part(module, version, f"pkg:golang/{module}@{version}", _copy(texts, folder, f"go-{module.replace('/', '_')}"))


def _debian(folder: Path, tree: Path, pins: Pins, target: Target) -> Iterator[Part]:
    """Shared libraries that came from the distribution."""
    known = {name: str(pin["licence"]) for name, pin in pins.libraries.items()} | DEBIAN
    linked = {"libc6", "libseccomp2", *pins.libraries}  # the first two stand in runc
    taken = linked.union(*(_package_of(file.name, target) for file in (tree / "_internal").glob("*.so*")))
    for package in sorted(taken):
        version = target.packages("-W", "-f", "${Version}", package)
        shutil.copyfile(target.root / "usr" / "share" / "doc" / package / "copyright", folder / f"debian-{package}.txt")
        yield Part(package, version, f"pkg:deb/debian/{package}@{version}?arch={target.arch.name}", known.get(package, ""))


def _package_of(library: str, target: Target) -> set[str]:
    """Empty for one that a Python package brought."""
    said = target.packages("-S", f"*/{target.arch.triplet}/{library}")
    return {line.partition(":")[0] for line in said.splitlines()}


def _zstd(folder: Path, tree: Path, pins: Pins) -> Part:
    version = str(pins.sources["zstandard"]["version"])
    shutil.copyfile(tree.parent / "sources" / f"zstandard-{version}" / "zstd" / "LICENSE", folder / "zstd.txt")
    return Part("zstandard", version, f"pkg:pypi/zstandard@{version}", "BSD-3-Clause")
