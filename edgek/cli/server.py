"""``edgek server``: everything in one process, until it is told to stop."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from edgek.cli import options
from edgek.config.options import OPTIONS
from edgek.model.errors import UsageError

NOT_OURS = frozenset({"join"})


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="edgek server", description="Run a Kubernetes cluster on this machine.")
    options.add(parser, [option.name for option in OPTIONS if option.name not in NOT_OURS])
    config = options.configure(options.parse(parser, arguments))
    if config.join:
        raise UsageError(f"--join {config.join}: a second server cannot join yet; `edgek agent` joins this machine as a node")
    if not config.disable_agent:
        options.need_root("a node (edgek server without --disable-agent)")
    from edgek import roles

    return roles.serve(config)
