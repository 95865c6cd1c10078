"""``edgek csi serve``: one of our storage drivers alone, on a socket, for another cluster's kubelet and sidecars or for a test."""

from __future__ import annotations

import argparse
import signal
import socket
import sys
from collections.abc import Sequence
from pathlib import Path

import trio

from edgek.cli import options
from edgek.csi.driver import Settings
from edgek.host import log
from edgek.model.errors import UsageError

SCHEME = "unix://"


def main(arguments: Sequence[str]) -> int:
    found = _parser().parse_args(arguments)
    if not found.endpoint.startswith(SCHEME) or not found.endpoint.removeprefix(SCHEME).startswith("/"):
        raise UsageError(f"--endpoint {found.endpoint}: only unix sockets are served, as in {SCHEME}/run/edgek/csi.sock")
    if found.driver == "hostpath" and found.root is None:
        raise UsageError("--driver hostpath needs --root, the folder below which its volumes lie")
    if bool(found.server) != bool(found.share):
        raise UsageError("--server and --share say together where volumes lie; without both of them every StorageClass says it")
    options.need_root("mounting volumes")
    settings = Settings(found.node_id, found.root, found.server, found.share)
    return trio.run(_serve, found.driver, settings, Path(found.endpoint.removeprefix(SCHEME)))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="edgek csi", description="Serve a storage driver by the Container Storage Interface.")
    serving = parser.add_subparsers(dest="action", required=True).add_parser("serve", help="serve a driver until told to stop")
    serving.add_argument("--driver", required=True, choices=("hostpath", "nfs"))
    serving.add_argument("--endpoint", required=True, metavar="unix:///PATH", help="the socket to listen on")
    serving.add_argument("--node-id", default=socket.gethostname(), metavar="NAME", help="what this node is called (default: the host name)")
    serving.add_argument("--root", type=Path, metavar="DIR", help="hostpath: the folder below which volumes lie")
    serving.add_argument("--server", default="", metavar="HOST", help="nfs: the server, where a StorageClass names none")
    serving.add_argument("--share", default="", metavar="PATH", help="nfs: the path it exports")
    return parser


async def _serve(driver: str, settings: Settings, endpoint: Path) -> int:
    from edgek.csi.serve import serve
    from edgek.csi.table import DRIVERS

    failed = False
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        try:
            async with trio.open_nursery() as nursery:
                await nursery.start(serve, DRIVERS[driver](settings), endpoint)
                log.info("serving a storage driver", driver=driver, endpoint=endpoint)
                async for _ in signals:
                    nursery.cancel_scope.cancel()
        except* OSError as group:
            for exc in group.exceptions:
                print(f"edgek csi: {exc}", file=sys.stderr)
            failed = True
    return 1 if failed else 0
