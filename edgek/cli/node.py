"""``edgek node forget NAME``: the machine of that name is gone or was set up anew; another one may have the name."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

import trio

from edgek.cli import access, options
from edgek.client.joining import PASSWORD_SUFFIX, SECRETS_NAMESPACE
from edgek.client.transport import Disconnected
from edgek.config import Config
from edgek.model import errors, kinds


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="edgek node", description="Forget a node.")
    options.add(parser, access.OPTIONS)
    actions = parser.add_subparsers(dest="action", required=True)
    places = argparse.ArgumentParser(add_help=False, argument_default=argparse.SUPPRESS)  # the same flags may stand behind the action
    options.add(places, access.OPTIONS)
    words = "delete the node, make its certificate worthless, and let another machine have its name"
    forgetting = actions.add_parser("forget", help=words, parents=[places])
    forgetting.add_argument("name", metavar="NAME")
    found = options.parse(parser, arguments)
    return trio.run(_forget, options.configure(found), found.name)


async def _forget(config: Config, name: str) -> int:
    client, transport = access.admin(config)
    known = False
    try:
        for kind, object_name, namespace in ((kinds.SECRET, name + PASSWORD_SUFFIX, SECRETS_NAMESPACE), (kinds.NODE, name, "")):
            try:
                await client.delete(kind, object_name, namespace)
                known = True
            except errors.NotFound:
                pass
    except (Disconnected, errors.ApiError) as exc:
        print(f"edgek node: {exc}", file=sys.stderr)
        return 1
    finally:
        transport.close()
    said = f"{name} is forgotten: a machine may join under that name. What runs on the former one runs on until it is stopped there"
    print(said if known else f"there is no node {name!r}", file=sys.stdout if known else sys.stderr)
    return 0 if known else 1
