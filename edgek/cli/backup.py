"""``edgek backup``: a whole server in one file, while it runs."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from edgek.cli import options
from edgek.model.errors import UsageError

PASSPHRASE_HELP = "a file with the passphrase that seals it"


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="edgek backup", description="Write database, keys, authorities and tokens of this machine's server to one file, while it runs."
    )
    options.add(parser, ["data-dir", "backup-dir"])
    parser.add_argument("file", nargs="?", type=Path, help="where it goes (a new file in --backup-dir)")
    parser.add_argument("--passphrase-file", type=Path, metavar="FILE", help=PASSPHRASE_HELP)
    parser.add_argument("--check", action="store_true", help="read FILE instead, and say whether it is whole")
    found = options.parse(parser, arguments)
    config = options.configure(found)
    from edgek.server import backup

    passphrase = read_passphrase(found.passphrase_file)
    if found.check:
        if found.file is None:
            raise UsageError("--check: name the FILE to read")
        contents = backup.read(found.file, passphrase)
        print(f"{found.file} is whole: made by edgek {contents.edgek} at {contents.made}, {len(contents.files)} files")
        return 0
    options.need_root("backup")
    target = found.file or backup.new_file(config.backup_dir)
    backup.make(config.server_dir, target, passphrase)
    print(target)
    if not passphrase:
        print("It holds every Secret and key of the cluster: keep it safe, or seal it with --passphrase-file.", file=sys.stderr)
    return 0


def read_passphrase(file: Path | None) -> str:
    """Empty without a file. Raises UsageError."""
    if file is None:
        return ""
    try:
        passphrase = file.read_text().strip()
    except (OSError, UnicodeDecodeError) as exc:
        raise UsageError(f"--passphrase-file {file} cannot be read: {exc}") from exc
    if not passphrase:
        raise UsageError(f"--passphrase-file {file} is empty")
    return passphrase
