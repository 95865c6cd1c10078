"""``edgek token``: the secret by which nodes join."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from edgek.cli import options


def main(arguments: Sequence[str]) -> int:
    config, _ = options.for_command("token", "Print the token by which nodes join this cluster.", ["data-dir"], arguments)
    try:
        print(config.token_file.read_text().strip())
    except FileNotFoundError:
        print(f"edgek token: {config.token_file} is not there: start `edgek server` once, or name its --data-dir", file=sys.stderr)
        return 1
    except PermissionError:
        options.need_root("reading the token")
        raise
    return 0
