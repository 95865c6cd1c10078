from __future__ import annotations

from pathlib import Path

import orjson
import pytest

from edgek.cni import setup
from edgek.model.errors import UsageError


async def test_the_plugin_is_installed_under_both_names_with_its_configuration(tmp_path: Path) -> None:
    await setup.install(tmp_path / "bin", tmp_path / "net.d")
    assert sorted(path.name for path in (tmp_path / "bin").iterdir()) == ["edgek", "loopback"]
    assert all(path.stat().st_mode & 0o777 == 0o755 for path in (tmp_path / "bin").iterdir())
    (conflist,) = (tmp_path / "net.d").iterdir()
    assert orjson.loads(conflist.read_bytes())["plugins"] == [{"type": "edgek", "capabilities": {"portMappings": True}}]


async def test_installing_again_writes_nothing(tmp_path: Path) -> None:
    def stamps() -> list[tuple[int, int]]:
        return [(path.stat().st_ino, path.stat().st_mtime_ns) for path in sorted(tmp_path.rglob("*"))]

    await setup.install(tmp_path / "bin", tmp_path / "net.d")
    before = stamps()
    await setup.install(tmp_path / "bin", tmp_path / "net.d")
    assert stamps() == before


async def test_a_built_shim_is_taken_as_it_is_and_a_newer_one_replaces_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(setup, "BUILT", tmp_path / "shim")
    monkeypatch.setattr(setup, "SOURCE", tmp_path / "not packed")
    for content in (b"first", b"second"):
        (tmp_path / "shim").write_bytes(content)
        await setup.install(tmp_path / "bin", tmp_path / "net.d")
        assert [path.read_bytes() for path in (tmp_path / "bin").iterdir()] == [content, content]


async def test_without_a_compiler_the_script_serves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(setup, "COMPILERS", ("no-such-compiler",))
    await setup.install(tmp_path / "bin", tmp_path / "net.d")
    assert (tmp_path / "bin/edgek").read_text().startswith("#!/usr/")


async def test_with_nothing_at_all_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(setup, "COMPILERS", ())
    monkeypatch.setattr(setup, "_PYTHONS", ("/no/such/python",))
    with pytest.raises(setup.NoShim, match="musl-tools"):
        await setup.install(tmp_path / "bin", tmp_path / "net.d")


def test_only_settings_that_differ_are_written(tmp_path: Path) -> None:
    forward = tmp_path / "net/ipv4/ip_forward"
    forward.parent.mkdir(parents=True)
    forward.write_text("0\n")
    setup.set_sysctls(tmp_path)
    assert forward.read_text() == "1"
    forward.chmod(0o400)
    forward.write_text("1\n")
    inode = forward.stat().st_mtime_ns
    setup.set_sysctls(tmp_path)
    assert forward.stat().st_mtime_ns == inode


def test_a_machine_that_may_not_forward_is_told_so(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="ip_forward cannot be set to 1"):
        setup.set_sysctls(tmp_path)
