"""``edgek uninstall``: everything that edgek made on this machine goes, and edgek with it."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from edgek.cli import scripts


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="edgek uninstall", description="Take edgek away: pods, volumes, networks, files, the service, itself.")
    parser.add_argument("--keep-data", action="store_true", help="leave the cluster's state, images, volumes and the configuration")
    found = parser.parse_args(arguments)
    return scripts.become("uninstall.sh", ["--keep-data"] if found.keep_data else [], "uninstall")
