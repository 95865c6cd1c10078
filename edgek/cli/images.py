"""``edgek images import FILE...`` and ``edgek images list``: the images of this node, without a registry."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import trio

from edgek.cli import options
from edgek.config import Config
from edgek.model.errors import UsageError


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="edgek images", description="Import and list the images of this node.")
    options.add(parser, ["run-dir", "data-dir", "container-runtime-endpoint"])
    actions = parser.add_subparsers(dest="action", required=True)
    importing = actions.add_parser("import", help="load docker or OCI archives: plain, gzip or zstd")
    importing.add_argument("files", nargs="+", type=Path, metavar="FILE")
    actions.add_parser("list", help="list the images that are here")
    found = options.parse(parser, arguments)
    config = options.configure(found)
    options.need_root("talking to containerd")
    if not config.runtime_socket.exists():
        raise UsageError(f"containerd's socket {config.runtime_socket} is not there: is `edgek server` running? See --run-dir")
    return trio.run(_import, config, found.files) if found.action == "import" else trio.run(_list, config)


async def _import(config: Config, files: list[Path]) -> int:
    from edgek.agent.runtime.cri import CriRuntime
    from edgek.agent.runtime.runtime import RuntimeFailure

    runtime = CriRuntime(config.runtime_socket, config.run_dir)
    failed = 0
    for file in files:
        try:
            for reference in await runtime.import_images(trio.Path(file.absolute())):
                print(reference)
        except (OSError, RuntimeFailure) as exc:
            failed += 1
            print(f"edgek images: {file}: {exc}", file=sys.stderr)
    runtime.close()
    return 1 if failed else 0


async def _list(config: Config) -> int:
    from rich.console import Console
    from rich.table import Table

    from edgek.agent.runtime.cri import CriRuntime

    runtime = CriRuntime(config.runtime_socket, config.run_dir)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("IMAGE", "ID", "SIZE"):
        table.add_column(column, overflow="fold")
    for image in sorted(await runtime.images(), key=lambda image: image.tags or (image.id,)):
        for name in image.tags or image.digests or ("<none>",):
            table.add_row(name, image.id.removeprefix("sha256:")[:12], f"{image.size_bytes / 1e6:.1f} MB")
    runtime.close()
    Console(highlight=False).print(table)
    return 0
