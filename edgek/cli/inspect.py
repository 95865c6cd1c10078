"""``edgek inspect``: everything that somebody needs who helps from afar, in one file, and no secret in it.

What a part cannot find out is said in its place: a bundle is wanted most of all where things do not work.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import sqlite3
import sys
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import trio

from edgek.cli import access, inspect_parts, known_secrets, options
from edgek.cli.blot import Blotter
from edgek.cli.inspect_parts import Part
from edgek.client.transport import Disconnected
from edgek.config import Config
from edgek.host import files, wallclock
from edgek.model import kinds
from edgek.model.errors import EdgekError, UsageError

FLAGS = (*access.OPTIONS, "write-kubeconfig", "private-registry", "kubelet-dir", "cgroup-root", "join")
# What goes wrong on a machine that is not well. A defect of ours is none of these, and is told as one.
TROUBLE = (EdgekError, Disconnected, OSError, ValueError, KeyError, sqlite3.Error, trio.TooSlowError)


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="edgek inspect", description="Gather what is needed to help from afar in one file, without secrets.")
    options.add(parser, FLAGS)
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="where it goes (edgek-inspect-TIME.tar.gz here)")
    found = options.parse(parser, arguments)
    config = options.configure(found)
    options.need_root("inspect")
    name = f"edgek-inspect-{wallclock.now_rfc3339().replace(':', '')}"
    target = (found.output or Path(f"{name}.tar.gz")).absolute()
    if not target.parent.is_dir():
        raise UsageError(f"--output {target}: there is no folder {target.parent}")
    secrets, problems = _secrets(config)
    gathered = trio.run(_gather, config, Blotter(known_secrets.of_machine(config, secrets)), problems)
    _write(target, name, gathered)
    print(target)
    print(f"{len(gathered)} files. Secrets that edgek knows of, and what looks like one, are blotted out; look into it before you give it away.")
    for problem in problems:
        print(f"not in it: {problem}", file=sys.stderr)
    return 0


def _secrets(config: Config) -> tuple[list[dict[str, Any]], list[str]]:
    """The Secrets of the cluster, from the database itself: whether a server runs or not."""
    if not config.database.exists():
        return [], []
    from edgek.server.store import upkeep

    try:
        return [json.loads(body) for body in upkeep.bodies(config.database, kinds.SECRET.storage)], []
    except TROUBLE as exc:
        return [], [f"what the cluster says of itself, for its Secrets cannot be read to blot them out: {exc}"]


async def _gather(config: Config, blotter: Blotter, problems: list[str]) -> dict[str, str]:
    """File by file. Without knowing the Secrets nothing is quoted that might quote them."""
    wanted = {name: part for name, part in inspect_parts.PARTS.items() if not problems or name not in ("cluster", "logs")}
    gathered: dict[str, str] = {}
    for name, part in wanted.items():
        print(f"{name} ...", file=sys.stderr, flush=True)
        gathered |= await _files(config, blotter, name, part, problems)
    gathered["problems.txt"] = blotter.text("".join(f"{problem}\n" for problem in problems)) or "none\n"
    return gathered


async def _files(config: Config, blotter: Blotter, name: str, part: Part, problems: list[str]) -> dict[str, str]:
    gathered: dict[str, str] = {}
    try:
        async for file in part(config):
            gathered[file.name] = blotter.text(file.text) if file.objects is None else blotter.objects(file.objects)
    except TROUBLE as exc:
        problems.append(blotter.text(f"{name}: {exc or type(exc).__name__}"))
    return gathered


def _write(target: Path, name: str, gathered: dict[str, str]) -> None:
    """For root alone, and whole or not at all."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz", compresslevel=6) as archive:
        for path, text in sorted(gathered.items()):
            member = tarfile.TarInfo(f"{name}/{path}")
            raw = text.encode(errors="replace")
            member.size, member.mode, member.mtime = len(raw), files.SECRET_MODE, int(wallclock.now())
            archive.addfile(member, io.BytesIO(raw))
    try:
        files.write_atomically(target, packed.getvalue(), files.SECRET_MODE)
    except OSError as exc:
        raise UsageError(f"cannot write {target}: {exc.strerror or os.strerror(exc.errno or 0)}") from exc
