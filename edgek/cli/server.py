"""``edgek server``: everything in one process, until it is told to stop."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from edgek.cli import options


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="edgek server", description="Run a Kubernetes cluster on this machine.")
    options.add(parser)
    config = options.configure(options.parse(parser, arguments))
    if not config.disable_agent:
        options.need_root("a node (edgek server without --disable-agent)")
    from edgek import roles

    return roles.serve(config)
