"""The one file: a small tree packed behind the real launcher, unpacked and started as a user would.

The whole file is built and tried in its own time (``packaging/build.sh`` ends with a self-test): minutes, and a Go compiler, that not every run has.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.packaging.onefile import ECHO, ONEFILE, load, make_tree, pack

debian = load("debian")
licences = load("licences")
programs = load("programs")
pins = load("pins")
targets = load("targets")


@pytest.fixture
def packed(tmp_path: Path, launcher: Path) -> Path:
    return pack(make_tree(tmp_path / "tree"), launcher, tmp_path / "edgek")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


def run(program: Path, data: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    settings = {"PATH": os.environ["PATH"], "EDGEK_DATA_DIR": str(data), **environment}
    return subprocess.run([program, *arguments], env=settings, capture_output=True, text=True, check=False)


def unpacked(data: Path) -> list[str]:
    return sorted(each.name for each in (data / "dist").iterdir() if not each.name.startswith("."))


def test_it_unpacks_once_and_passes_on_what_it_was_told(packed: Path, data: Path):
    first = run(packed, data, "server", "--flag", "a b")
    assert (first.returncode, first.stdout) == (0, "edgek called  server --flag a b\n")
    (name,) = unpacked(data)
    tree = data / "dist" / name
    assert (tree / "_internal" / "deep" / "er" / "data").read_text() == "x" * 200_000
    assert not os.access(tree / "_internal" / "deep" / "er" / "data", os.X_OK)
    before = tree.stat().st_ctime_ns
    assert run(packed, data).returncode == 0
    assert tree.stat().st_ctime_ns == before


def test_called_by_the_name_of_a_program_inside_it_becomes_that(packed: Path, data: Path, tmp_path: Path):
    link = tmp_path / "ctr"
    link.symlink_to(packed)
    assert run(link, data, "images", "ls").stdout == "ctr called k8s.io images ls\n"
    assert run(link, data, "version", CONTAINERD_NAMESPACE="moby").stdout == "ctr called moby version\n"


def test_the_same_tree_gives_the_same_bytes(packed: Path, tmp_path: Path, launcher: Path):
    again = pack(make_tree(tmp_path / "elsewhere"), launcher, tmp_path / "again")
    assert again.read_bytes() == packed.read_bytes()


@pytest.mark.parametrize("damage", ["cut off", "cut off early", "a bit in the archive", "a bit in the trailer"])
def test_a_damaged_file_says_so_and_leaves_nothing(packed: Path, launcher: Path, data: Path, damage: str):
    content = bytearray(packed.read_bytes())
    if damage.startswith("cut off"):
        content = content[: -100 if damage == "cut off" else launcher.stat().st_size + 10]
    else:
        content[-5 if "trailer" in damage else -300] ^= 1
    packed.write_bytes(content)
    done = run(packed, data)
    assert (done.returncode, done.stderr) == (126, "edgek: this file is cut off or damaged. Fetch it again\n")
    assert not (data / "dist").exists() or [each.name for each in (data / "dist").iterdir()] == [".lock"]


def test_many_that_start_at_once_unpack_it_once(packed: Path, data: Path):
    settings = {"PATH": os.environ["PATH"], "EDGEK_DATA_DIR": str(data)}
    children = [subprocess.Popen([packed, str(n)], env=settings, stdout=subprocess.PIPE, text=True) for n in range(8)]
    assert [child.communicate()[0] for child in children] == [f"edgek called  {n}\n" for n in range(8)]
    assert len(unpacked(data)) == 1


def test_what_a_power_cut_left_half_unpacked_is_removed(packed: Path, data: Path):
    half = data / "dist" / ".new-0123456789ab"
    half.mkdir(parents=True)
    (half / "edgek").write_text("half")
    assert run(packed, data).returncode == 0
    assert not half.exists()


def test_former_versions_go_once_nobody_runs_from_them(packed: Path, data: Path, tmp_path: Path, launcher: Path):
    idle = data / "dist" / "0123456789ab"
    make_tree(idle)
    busy = data / "dist" / "ba9876543210"
    make_tree(busy)
    shim = busy / "bin" / "shim"
    shim.write_bytes(Path("/bin/sleep").read_bytes())
    shim.chmod(0o755)
    running = subprocess.Popen([shim, "100"])
    try:
        assert run(packed, data).returncode == 0
    finally:
        running.kill()
        running.wait()
    assert not idle.exists()
    assert busy.exists()
    newer = pack(make_tree(tmp_path / "newer", ECHO + "# another\n"), launcher, tmp_path / "edgek-newer")
    assert run(newer, data).returncode == 0
    assert len(unpacked(data)) == 1


def test_two_versions_that_start_at_once_do_not_take_each_others_files_away(data: Path, tmp_path: Path, launcher: Path):
    versions = []
    for name in ("one", "other"):
        tree = make_tree(tmp_path / name, name)
        shutil.copy("/bin/echo", tree / "edgek")  # a program, not a script: that is known by what it runs
        (tree / "name").write_text(name)
        versions.append(pack(tree, launcher, tmp_path / f"edgek-{name}"))
    settings = {"PATH": os.environ["PATH"], "EDGEK_DATA_DIR": str(data)}
    children = [subprocess.Popen([each, "x"], env=settings, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for each in versions * 6]
    assert {child.communicate() for child in children} == {("x\n", "")}


@pytest.mark.parametrize("lost", ["a file", "half of a file", "a program"])
def test_what_lost_something_is_unpacked_anew(packed: Path, data: Path, lost: str):
    run(packed, data)
    tree = data / "dist" / unpacked(data)[0]
    match lost:
        case "a file":
            (tree / "_internal" / "deep" / "er" / "data").unlink()
        case "half of a file":
            os.truncate(tree / "_internal" / "deep" / "er" / "data", 100_000)
        case "a program":
            (tree / "edgek").unlink()
    assert run(packed, data).stdout.startswith("edgek called")
    assert (tree / "_internal" / "deep" / "er" / "data").stat().st_size == 200_000


@pytest.mark.root
def test_what_somebody_else_laid_there_is_not_run(packed: Path, data: Path):
    run(packed, data)
    tree = data / "dist" / unpacked(data)[0]
    (tree / "edgek").write_text("#!/bin/sh\necho of somebody else\n" + "#" * 100)
    os.chown(tree, 65534, 65534)
    assert run(packed, data).stdout.startswith("edgek called")


def test_without_a_place_to_write_it_names_the_way_out(packed: Path, tmp_path: Path):
    blocked = tmp_path / "file"
    blocked.write_text("")
    done = run(packed, blocked / "data")
    assert done.returncode == 126
    assert f"cannot unpack to {blocked / 'data' / 'dist'}: Not a directory" in done.stderr
    assert "set EDGEK_DATA_DIR to a folder that can be written" in done.stderr


def test_where_the_data_directory_cannot_be_written_the_users_cache_serves(packed: Path, tmp_path: Path):
    blocked = tmp_path / "file"
    blocked.write_text("")
    assert run(packed, blocked / "data", "version", HOME=str(tmp_path)).stdout == "edgek called  version\n"
    assert len(list((tmp_path / ".cache" / "edgek" / "dist").glob("[0-9a-f]*"))) == 1


@pytest.mark.root
def test_a_file_system_without_programs_is_named(packed: Path, data: Path):
    data.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "noexec", "none", data], check=True)
    try:
        done = run(packed, data)
    finally:
        subprocess.run(["umount", data], check=True)
    assert done.returncode == 126
    assert "noexec" in done.stderr


@pytest.mark.root
def test_a_full_disk_is_named_and_the_next_try_begins_anew(packed: Path, data: Path):
    data.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", data], check=True)
    try:
        done = run(packed, data)
        assert done.returncode == 126
        assert "it takes 1 MB to unpack, and there are 0 in" in done.stderr
        assert "No space left on device: make room, or set EDGEK_DATA_DIR to a folder elsewhere" in done.stderr
        assert [each.name for each in (data / "dist").iterdir()] == [".lock"]
        subprocess.run(["mount", "-o", "remount,size=4m", data], check=True)
        assert run(packed, data).returncode == 0
    finally:
        subprocess.run(["umount", data], check=True)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--images", "/nowhere"), "--images /nowhere: there is no image tar in it"),
        (("--with-kubectl", "/etc/passwd"), "--with-kubectl /etc/passwd is no program for"),
        (("--sign", "/etc/passwd"), "--sign /etc/passwd is no private Ed25519 key"),
        (("--level", "20"), "invalid choice: 20"),
    ],
)
def test_a_build_names_what_it_cannot_take_before_it_begins(words: tuple[str, str], said: str):
    done = subprocess.run([sys.executable, ONEFILE, *words], capture_output=True, text=True, check=False)
    assert done.returncode
    assert said in done.stderr


@pytest.mark.parametrize("arch", list(targets.ARCHITECTURES))
def test_what_comes_from_debian_is_pinned_for_each_architecture(arch: str):
    found = pins.load()
    assert {"libc6", "libpython3.11", "libseccomp-dev", "libnftables1"} <= found.debian[arch].keys()
    assert found.tools[arch]


def test_every_package_that_is_installed_is_pinned_by_checksum():
    lines = pins.load().requirements().splitlines()
    assert lines
    assert all("==" in line and "--hash=sha256:" in line for line in lines)


@pytest.mark.parametrize("name", ["cffi", "cryptography", "grpcio", "httptools", "orjson", "pyyaml", "pyinstaller"])
def test_what_is_compiled_is_pinned_for_each_architecture(name: str):
    assert len(set(pins.load().python[name]["sha256"])) == len(targets.ARCHITECTURES)


@pytest.mark.skipif(shutil.which("dpkg-deb") is None, reason="needs dpkg")
def test_a_debian_of_another_architecture_is_laid_out_and_says_what_belongs_to_whom(tmp_path: Path):
    made = tmp_path / "package"
    library = made / "lib" / "aarch64-linux-gnu" / "libsome.so.1"
    library.parent.mkdir(parents=True)
    library.write_text("a library")
    (made / "DEBIAN").mkdir()
    control = (
        "Package: libsome1",
        "Version: 1:2.3-4",
        "Architecture: arm64",
        "Multi-Arch: same",
        "Maintainer: nobody <nobody@example.com>",
        "Description: x",
    )
    (made / "DEBIAN" / "control").write_text("\n".join(control) + "\n")
    (made / "DEBIAN" / "preinst").write_text("#!/bin/sh\nexit 1\n")  # nothing of theirs runs
    (made / "DEBIAN" / "preinst").chmod(0o755)
    subprocess.run(["dpkg-deb", "--build", made, tmp_path / "some.deb"], check=True, capture_output=True)
    debian.lay_out(tmp_path / "root", [tmp_path / "some.deb"])
    assert (tmp_path / "root" / "usr" / "lib" / "aarch64-linux-gnu" / "libsome.so.1").read_text() == "a library"
    there = targets.apart(targets.ARCHITECTURES["arm64"], tmp_path)
    assert there.packages("-W", "-f", "${Version}", "libsome1") == "1:2.3-4"
    assert there.packages("-S", "*/aarch64-linux-gnu/libsome.so.1") == "libsome1:arm64: /lib/aarch64-linux-gnu/libsome.so.1\n"
    assert "/lib/aarch64-linux-gnu/libsome.so.1" in there.packages("-L", "libsome1").splitlines()


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Permission is hereby granted, free of charge, to any person\n// obtaining a copy of", ""),
        ("MIT License\n\nPermission is hereby granted, free of charge, to any person obtaining\na copy of", "MIT"),
        ("                              Apache License\n                        Version 2.0, January 2004", "Apache-2.0"),
        ("> Redistributions in binary form must reproduce the above\n> copyright notice", "BSD-2-Clause"),
        ("GNU GENERAL PUBLIC LICENSE Version 2", ""),
    ],
)
def test_licences_are_known_by_what_they_say(text: str, name: str):
    assert licences.recognise(text) == name


# A program that is linked to glibc, as edgek is: by whose loader it runs, and what it was told.
LINKED = """
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
int main(int count, char **words) {
    char loader[4096] = "";
    if (readlink("/proc/self/exe", loader, sizeof loader - 1) < 0) return 1;
    printf("%s %s %d %s\\n", loader, words[count - 1], count, getenv("_EDGEK_LOADER") ? "own" : "the machine's");
}
"""


@pytest.fixture
def linked(tmp_path: Path, launcher: Path) -> Path:
    tree = make_tree(tmp_path / "tree")
    subprocess.run(["gcc", "-x", "c", "-o", tree / "edgek", "-"], input=LINKED, text=True, check=True)
    programs.c_library(tree, targets.native(targets.this_machine()))
    return pack(tree, launcher, tmp_path / "linked")


def test_the_machines_c_library_is_used_where_it_will_do(linked: Path, data: Path):
    done = run(linked, data, "check", "a b", _EDGEK_LOADER="of another edgek")
    assert done.stdout.endswith("/edgek a b 3 the machine's\n"), done.stderr


def test_the_c_library_that_came_along_is_used_where_that_is_wanted(linked: Path, data: Path):
    done = run(linked, data, "check", "a b", EDGEK_OWN_LIBC="1")
    assert done.stdout.endswith(" a b 3 own\n"), done.stderr
    assert "/lib-c/ld-linux-" in done.stdout
