"""What ``edgek upgrade`` refuses before the installer has its turn; that is tried in tests/packaging."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from edgek.cli import main, scripts, upgrade


@pytest.mark.parametrize(
    ("words", "said"), [(["/nowhere/edgek"], "no file /nowhere/edgek"), ([sys.executable, "--timeout", "0"], "--timeout 0: say how many")]
)
def test_what_cannot_be_meant_is_refused_by_its_value(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["upgrade", *words]) == 2
    assert said in capsys.readouterr().err


def test_variables_of_an_installation_do_not_change_what_an_upgrade_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "role").write_text("server\n")
    (tmp_path / "install.sh").write_text("")
    became: list[dict[str, str]] = []
    monkeypatch.setattr(scripts, "INSTALLED", tmp_path)
    monkeypatch.setattr(upgrade.bundled, "share", lambda: tmp_path)
    monkeypatch.setattr(scripts.options, "need_root", lambda what: None)
    monkeypatch.setattr(os, "execve", lambda program, words, environment: became.append(environment))
    monkeypatch.setenv("INSTALL_EDGEK_SKIP_DOWNLOAD", "1")
    monkeypatch.setenv("INSTALL_EDGEK_PUBLIC_KEY", "MCo=")
    upgrade.main([sys.executable])
    assert became[0]["INSTALL_EDGEK_SKIP_DOWNLOAD"] == ""
    assert became[0]["INSTALL_EDGEK_PUBLIC_KEY"] == "MCo="
    assert became[0]["INSTALL_EDGEK_FILE"] == str(Path(sys.executable).absolute())
