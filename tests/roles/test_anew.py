"""A process that made keys gives its place to a new one, once."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

PROGRAM = """
import os, sys
from edgek.roles import anew

print("began", os.getpid(), sys.argv[1:], anew.HEAVY in sys.modules)
if sys.argv[1] == "always" or not os.path.exists(sys.argv[2]):
    open(sys.argv[2], "w").close()
    import cryptography
try:
    anew.lighten()
except anew.BeginAnew:
    sys.stdout.flush()
    anew.begin([sys.executable, *sys.orig_argv[1:]])
print("went on")
"""


def run(*arguments: str | Path) -> list[str]:
    environment = {key: value for key, value in os.environ.items() if key != "EDGEK_BEGUN_ANEW"}
    argv = [sys.executable, "-c", PROGRAM, *map(str, arguments)]
    return subprocess.run(argv, check=True, capture_output=True, text=True, env=environment).stdout.splitlines()


def test_what_made_keys_begins_again_in_its_own_place_with_the_same_arguments(tmp_path: Path) -> None:
    first, second, last = run("once", tmp_path / "key")
    assert first == second
    assert last == "went on"


def test_what_makes_keys_each_time_goes_on_the_second_time(tmp_path: Path) -> None:
    assert [line.split()[0] for line in run("always", tmp_path / "key")] == ["began", "began", "went"]


def test_what_made_none_goes_on(tmp_path: Path) -> None:
    (tmp_path / "key").touch()
    assert [line.split()[0] for line in run("once", tmp_path / "key")] == ["began", "went"]
