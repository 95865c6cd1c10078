"""What is done to the file in a short child process: bring its schema up to date, or save what can be read of a damaged one.

``sqlite_utils`` costs 15 MB and 110 ms to import, so a server starts this child only when the file's ``user_version`` is not ``schema.VERSION``, or
when it cannot be read whole (``opening.py``).
"""

from __future__ import annotations

import os
import sqlite3
import sys
from collections.abc import Sequence
from pathlib import Path

from edgek.host import process
from edgek.model import errors
from edgek.server.store import salvage, schema

# The word after the program's name by which edgek runs this module.
COMMAND = "internal-store"


def command(*arguments: str | Path) -> list[str]:
    """How to run this module in a child process."""
    return process.ourselves(COMMAND, *arguments)


def main(arguments: Sequence[str]) -> int:
    """``migrate FILE`` or ``salvage FILE``; prints what salvage lost as JSON."""
    action, path = arguments[0], Path(arguments[1])
    os.umask(0o077)  # what it makes holds every Secret
    try:
        if action == "salvage":
            print(salvage.rescue(path, schema.migrate).to_json())
        else:
            schema.migrate(path)
    except (errors.UsageError, sqlite3.Error, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0
