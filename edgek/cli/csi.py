"""``edgek csi serve``: one of our storage drivers alone, on a socket, for another cluster's kubelet and sidecars or for a test."""

from __future__ import annotations

import argparse
import os
import re
import signal
import socket
import sys
from collections.abc import Sequence
from pathlib import Path

import trio

from edgek.cli import options
from edgek.csi.driver import BadRequest, Settings
from edgek.host import log
from edgek.model.errors import UsageError

SCHEME = "unix://"
LONGEST_SOCKET = 107  # bytes, the kernel's
NODE_ID = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")  # it becomes the value of a node's label


def main(arguments: Sequence[str]) -> int:
    found = _parser().parse_args(arguments)
    endpoint = _endpoint(found.endpoint)
    if not NODE_ID.fullmatch(found.node_id):
        raise UsageError(f"--node-id {found.node_id!r}: up to 63 letters, digits, '-', '_' and '.', for it becomes the value of a label")
    options.need_root("mounting volumes")
    settings = _directories(found) if found.driver == "hostpath" else _export(found)
    return trio.run(_serve, found.driver, settings, endpoint)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="edgek csi", description="Serve a storage driver by the Container Storage Interface.")
    serving = parser.add_subparsers(dest="action", required=True).add_parser("serve", help="serve a driver until told to stop")
    serving.add_argument("--driver", required=True, choices=("hostpath", "nfs"))
    serving.add_argument("--endpoint", required=True, metavar="unix:///PATH", help="the socket to listen on")
    serving.add_argument("--node-id", default=socket.gethostname(), metavar="NAME", help="what this node is called (default: the host name)")
    serving.add_argument("--root", type=Path, metavar="DIR", help="hostpath: the folder below which volumes lie; made where it is missing")
    serving.add_argument("--server", default="", metavar="HOST", help="nfs: the server, where a StorageClass names none")
    serving.add_argument("--share", default="", metavar="PATH", help="nfs: the path it exports")
    return parser


def _endpoint(text: str) -> Path:
    """Raises UsageError."""
    path = text.removeprefix(SCHEME)
    if not text.startswith(SCHEME) or not path.startswith("/") or path.endswith("/"):
        raise UsageError(f"--endpoint {text}: only unix sockets are served, as in {SCHEME}/run/edgek/csi.sock")
    if len(os.fsencode(path)) > LONGEST_SOCKET:
        raise UsageError(f"--endpoint {text}: the path of a socket has at most {LONGEST_SOCKET} bytes")
    return Path(path)


def _directories(found: argparse.Namespace) -> Settings:
    """Raises UsageError. A relative root would be another folder whenever it is started from elsewhere, and its volumes would be missed."""
    root: Path | None = found.root
    if found.server or found.share:
        raise UsageError("--server and --share are for --driver nfs")
    if root is None:
        raise UsageError("--driver hostpath needs --root, the folder below which its volumes lie")
    if not root.is_absolute():
        raise UsageError(f"--root {root}: it must be an absolute path, such as {root.absolute()}")
    try:
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
    except FileExistsError:
        raise UsageError(f"--root {root} is no directory") from None
    except OSError as exc:
        raise UsageError(f"--root {root} cannot be made: {exc.strerror}") from None
    if not os.access(root, os.W_OK):
        raise UsageError(f"--root {root} cannot be written to: is its file system read-only?")
    return Settings(found.node_id, root)


def _export(found: argparse.Namespace) -> Settings:
    """Raises UsageError."""
    from edgek.csi import export

    if found.root is not None:
        raise UsageError("--root is for --driver hostpath")
    if bool(found.server) != bool(found.share):
        raise UsageError("--server and --share say together where volumes lie; without both of them every StorageClass says it")
    try:
        if found.server:
            export.export_of(found.server, found.share)
    except BadRequest as problem:
        raise UsageError(str(problem)) from None
    return Settings(found.node_id, None, found.server, found.share)


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
                print(f"edgek csi: {_words(exc)}", file=sys.stderr)
            failed = True
    return 1 if failed else 0


def _words(exc: Exception) -> str:
    return f"{exc.filename}: {exc.strerror}" if isinstance(exc, OSError) and exc.filename else str(exc)
