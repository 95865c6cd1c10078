"""``edgek agent``: a node of a cluster whose server is elsewhere, until it is told to stop."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from edgek.cli import options

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
    config = options.configure(options.parse(parser, [ours(argument) for argument in arguments]))
    options.need_root("a node")
    from edgek import roles

    return roles.serve_agent(config)


def ours(argument: str) -> str:
    """k3s says --server."""
    name, equals, value = argument.partition("=")
    return f"--join{equals}{value}" if name == "--server" else argument
