"""The flags of ``edgek server`` (``config/options.py``) as an argparse parser, and the Config they make with the file and the environment."""

from __future__ import annotations

import argparse
import os
import socket
import sys
from collections.abc import Sequence
from pathlib import Path

from edgek import config
from edgek.config import Config
from edgek.config.options import DEFAULT_CONFIG_FILE, OPTIONS, REFUSED
from edgek.model.errors import UsageError


def add(parser: argparse.ArgumentParser, names: Sequence[str] = ()) -> None:
    """Add the options named (all of them without names), and ``--config``."""
    parser.add_argument("--config", type=Path, help=f"a YAML file in which every flag is a key ({DEFAULT_CONFIG_FILE})")
    for option in OPTIONS:
        if names and option.name not in names:
            continue
        flag = f"--{option.name}"
        text = f"{option.help} [{option.variable}]"
        if option.is_switch:
            parser.add_argument(flag, nargs="?", const="true", metavar="true|false", help=text)
        elif option.many:
            parser.add_argument(flag, action="append", default=[], metavar="VALUE", help=text)
        else:
            default = f" (default {option.default})" if isinstance(option.default, str | int | Path) and option.default != "" else ""
            parser.add_argument(flag, metavar="VALUE", help=text + default)


def parse(parser: argparse.ArgumentParser, arguments: Sequence[str]) -> argparse.Namespace:
    """As ``parse_args``, with a reason for flags that k3s has and edgek refuses."""
    for argument in arguments:
        name = argument.removeprefix("--").partition("=")[0]
        if argument.startswith("--") and name in REFUSED:
            raise UsageError(f"--{name}: {REFUSED[name]}")
    return parser.parse_args(arguments)


def configure(found: argparse.Namespace) -> Config:
    """Raises UsageError."""
    file = found.config or (Path(os.environ["EDGEK_CONFIG"]) if "EDGEK_CONFIG" in os.environ else None)
    return config.load(vars(found), os.environ, file, socket.gethostname())


def for_command(name: str, description: str, names: Sequence[str], arguments: Sequence[str]) -> tuple[Config, argparse.Namespace]:
    """For small commands that only need to know where things lie."""
    parser = argparse.ArgumentParser(prog=f"edgek {name}", description=description)
    add(parser, names)
    found = parse(parser, arguments)
    return configure(found), found


def need_root(what: str) -> None:
    if os.geteuid() != 0:
        raise UsageError(f"{what} needs root; try: sudo {' '.join(sys.argv)}")
