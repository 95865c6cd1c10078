"""``edgek agent``: a node of a cluster whose server is elsewhere, until it is told to stop."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from edgek.cli import options
from edgek.config.options import OPTIONS as OF_ALL
from edgek.model.errors import UsageError

OPTIONS = (
    "join",
    "token",
    "token-file",
    "data-dir",
    "run-dir",
    "kubelet-dir",
    "pod-logs-dir",
    "cgroup-root",
    "node-name",
    "node-ip",
    "node-external-ip",
    "node-label",
    "node-taint",
    "register-node",
    "flannel-iface",
    "container-runtime-endpoint",
    "private-registry",
    "log-level",
)


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="edgek agent", description="Join another machine's cluster as a node.")
    options.add(parser, OPTIONS)
    arguments = [ours(argument) for argument in arguments]
    refuse_servers(arguments)
    config = options.configure(options.parse(parser, arguments))
    options.need_root("a node")
    from edgek import roles

    return roles.serve_agent(config)


def refuse_servers(arguments: Sequence[str]) -> None:
    """Raises UsageError for a flag that is of no use here."""
    others = {option.name for option in OF_ALL if option.name not in OPTIONS}
    for argument in arguments:
        name = argument.removeprefix("--").partition("=")[0]
        if argument.startswith("--") and name in others:
            raise UsageError(f"--{name} is a flag of `edgek server`: say it there, and this node is told where it concerns it")


def ours(argument: str) -> str:
    """k3s says --server."""
    name, equals, value = argument.partition("=")
    return f"--join{equals}{value}" if name == "--server" else argument
