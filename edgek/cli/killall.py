"""``edgek killall``: edgek and all its pods are stopped; what is installed and kept stays, and the service may be started again."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from edgek.cli import scripts


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="edgek killall", description="Stop edgek and everything that it started; what is installed and kept stays.")
    parser.parse_args(arguments)
    return scripts.become("uninstall.sh", ["--stop-only"], "killall")
