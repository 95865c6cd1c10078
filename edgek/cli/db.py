"""``edgek db``: look at the database, copy it, give free space back. All but compact and restore work beside a running server."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from edgek.cli import options
from edgek.model.errors import UsageError


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="edgek db", description="Inspect, copy and compact the database.")
    options.add(parser, ["data-dir"])
    actions = parser.add_subparsers(dest="action", required=True)
    actions.add_parser("show", help="objects and bytes of each kind")
    actions.add_parser("check", help="read everything and say what is damaged")
    actions.add_parser("compact", help="give free space back to the disk (the server must be stopped)")
    for name, text in (("backup", "write a copy that can be restored"), ("restore", "put a copy in place (the server must be stopped)")):
        actions.add_parser(name, help=text).add_argument("file", type=Path)
    found = options.parse(parser, arguments)
    path = options.configure(found).database
    from edgek.server.store import upkeep  # brings sqlite-utils along

    try:
        match found.action:
            case "show":
                _show(upkeep.counts(path))
            case "check":
                problems = upkeep.check(path)
                print("\n".join(problems) or "The database is sound.")
                return 1 if problems else 0
            case "compact":
                upkeep.compact(path)
            case "backup":
                upkeep.backup(path, found.file)
            case "restore":
                upkeep.restore(path, found.file)
    except PermissionError as exc:
        raise UsageError(f"{exc.filename} is root's; try with sudo") from None
    return 0


def _show(counts: dict[str, object]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("RESOURCE", "OBJECTS", "BYTES"):
        table.add_column(column)
    resources: list[dict[str, object]] = counts.pop("resources")  # type: ignore[assignment]
    for row in resources:
        table.add_row(*(str(row[name]) for name in ("resource", "objects", "bytes")))
    console = Console(highlight=False)
    console.print(table)
    console.print("\n" + ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in counts.items()))
