"""``edgek restore``: this machine becomes the server that a backup was made of."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from edgek.cli import backup as backup_command
from edgek.cli import options


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="edgek restore",
        description="Make this machine the server that a backup was made of, with its keys and tokens: agents find their cluster here. "
        "The server must be stopped; what it had moves aside.",
    )
    options.add(parser, ["data-dir"])
    parser.add_argument("file", type=Path, help="made by `edgek backup`")
    parser.add_argument("--passphrase-file", type=Path, metavar="FILE", help=backup_command.PASSPHRASE_HELP)
    found = options.parse(parser, arguments)
    config = options.configure(found)
    options.need_root("restore")
    from edgek.server import backup

    former = backup.restore(config.server_dir, found.file, backup_command.read_passphrase(found.passphrase_file))
    if former:
        print(f"What was here is kept in {former}.")
    print("Restored. Start the server: agents that knew its address, or that it had here, come back by themselves.")
    return 0
