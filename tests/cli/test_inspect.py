"""A bundle is made where nothing works, and holds no secret of what lies there."""

from __future__ import annotations

import tarfile
from pathlib import Path

import pytest
import trio

from edgek.cli import inspect, options
from edgek.cli.blot import Blotter
from edgek.config import Config
from edgek.server import pki


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Config:
    """Of a machine with keys and a token, where nothing runs."""
    (tmp_path / "none.yaml").write_text("token: S3cr-in-the-settings\n")
    monkeypatch.setenv("EDGEK_CONFIG", str(tmp_path / "none.yaml"))
    monkeypatch.setenv("EDGEK_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("EDGEK_RUN_DIR", str(tmp_path / "run"))
    config, _ = options.for_command("inspect", "", inspect.FLAGS, [])
    pki.open_token(config.kept_token, pki.open_keys(config.pki_dir, ["localhost"]), "S3cr-of-the-token")
    config.containerd_dir.mkdir(parents=True)
    (config.containerd_dir / "containerd.log").write_text("somebody said S3cr-of-the-token\n")
    return config


@pytest.mark.root
def test_where_nothing_runs_there_is_a_bundle_that_says_so(config: Config, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "bundle.tar.gz"
    target.write_text("an older one")
    target.chmod(0o644)
    assert inspect.main(["-o", str(target)]) == 0
    assert target.stat().st_mode & 0o777 == 0o600
    with tarfile.open(target) as archive:
        members = {member.name.partition("/")[2]: archive.extractfile(member) for member in archive}
        texts = {name: content.read().decode() for name, content in members.items() if content}
    assert "somebody said <blotted>" in texts["logs/containerd.log"]
    assert "\ntoken was given" in texts["config/effective.txt"]
    assert "cluster: cannot reach" in texts["problems.txt"]
    assert "api-server" in texts["certificates.txt"]
    assert "kernel" in texts["versions.txt"]
    assert not [name for name, text in texts.items() if "S3cr" in text]
    assert "not in it: cluster" in capsys.readouterr().err


async def test_who_cannot_read_the_secrets_quotes_nothing_that_might_quote_them(config: Config, capsys: pytest.CaptureFixture[str]) -> None:
    config.database.parent.mkdir(parents=True)
    config.database.write_text("this is no database, but it was one")
    secrets, problems = inspect._secrets(config)
    assert not secrets
    with trio.fail_after(120):
        gathered = await inspect._gather(config, Blotter([]), problems)
    assert not [name for name in gathered if name.startswith(("logs/", "cluster/"))]
    assert "cannot be read to blot them out" in gathered["problems.txt"]
    assert "machine/mountinfo.txt" in gathered
