from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from edgek.cli import main


@pytest.mark.root
def test_our_routes_go_and_those_of_others_stay() -> None:
    ways = "ip link set lo up; ip route add 198.51.100.0/24 dev lo; ip route add 203.0.113.0/24 dev lo proto 237"
    script = f"{ways}; {sys.executable} -m edgek internal-tool unroute && {sys.executable} -m edgek internal-tool unroute && ip route"
    done = subprocess.run(["unshare", "--net", "sh", "-ec", script], capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["198.51.100.0/24", "dev", "lo", "scope", "link"], done.stderr


def test_a_key_that_is_none_is_said_to_be_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("key", "file", "signature"):
        (tmp_path / name).write_text("nonsense")
    assert main(["internal-tool", "verify", *(str(tmp_path / name) for name in ("key", "file", "signature"))]) == 2
    assert f"{tmp_path / 'key'} holds no public key" in capsys.readouterr().err
