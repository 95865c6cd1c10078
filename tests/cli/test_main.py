"""What every command does alike."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgek.cli import main


def test_a_place_that_cannot_be_written_is_named_and_nobody_sees_a_traceback(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    place = tmp_path / "file" / "backups"
    assert main(["backup", "--data-dir", str(tmp_path), "--backup-dir", str(place)]) == 1
    assert capsys.readouterr().err == f"edgek backup: {place}: Not a directory\n"


def test_help_on_a_command_is_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["help", "backup"])
    assert ended.value.code == 0
    assert "usage: edgek backup" in capsys.readouterr().out
