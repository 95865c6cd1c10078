"""``edgek token``: the secrets by which nodes join. Without more it prints the one that lasts.

``create`` makes tokens that end (bootstrap tokens, as kubeadm has them), ``rotate`` replaces the one that lasts. Nodes that have joined need none.
"""

from __future__ import annotations

import argparse
import base64
import re
import secrets
import string
import sys
from collections.abc import Awaitable, Callable, Sequence

import trio

from edgek.cli import access, options
from edgek.client.client import Client
from edgek.client.joining import BOOTSTRAP_PREFIX, BOOTSTRAP_TYPE, SECRETS_NAMESPACE
from edgek.client.transport import Disconnected
from edgek.config import Config
from edgek.host import files, wallclock
from edgek.model import errors, kinds
from edgek.model.credentials import BOOTSTRAP, JoinToken, authority_hash, split_pem
from edgek.model.errors import UsageError
from edgek.model.objects import Object

LETTERS = string.ascii_lowercase + string.digits
UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
NEW_SECRET_BYTES = 16

Action = Callable[[Client, Config, argparse.Namespace], Awaitable[None]]


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="edgek token", description="The secrets by which nodes join; without more, print the one that lasts.")
    options.add(parser, access.OPTIONS)
    actions = parser.add_subparsers(dest="action")
    places = argparse.ArgumentParser(add_help=False, argument_default=argparse.SUPPRESS)  # the same flags may stand behind the action
    options.add(places, access.OPTIONS)
    creating = actions.add_parser("create", help="make a token that ends", parents=[places])
    creating.add_argument("token", nargs="?", default="", metavar="TOKEN", help="from `edgek token generate` (made up here)")
    creating.add_argument(
        "--ttl", type=_seconds, default=86400, metavar="TIME", help="how long it lets nodes in, such as 30m, 24h or 7d; 0: always (24h)"
    )
    creating.add_argument("--description", default="", metavar="TEXT")
    actions.add_parser("list", help="list the tokens that end", parents=[places])
    deleting = actions.add_parser("delete", help="make tokens worthless", parents=[places])
    deleting.add_argument("tokens", nargs="+", metavar="TOKEN", help="a token or its first six characters")
    rotating = actions.add_parser("rotate", help="replace the token that lasts", parents=[places])
    rotating.add_argument("--new-token", default="", metavar="SECRET", help="(made up here)")
    actions.add_parser("generate", help="print a token for `create` without making it known")
    found = options.parse(parser, arguments)
    if found.action == "generate":
        print(_generated())
        return 0
    config = options.configure(found)
    if found.action in ("create", "list", "delete"):
        return trio.run(_act, config, found)
    return _rotate(config, found.new_token) if found.action == "rotate" else _print(config)


def _print(config: Config) -> int:
    print(_kept(config))
    return 0


def _kept(config: Config) -> JoinToken:
    try:
        return JoinToken.parse(config.kept_token.read_text().strip())
    except FileNotFoundError:
        hint = "tokens are on the server's machine; start `edgek server` there once, or name its --data-dir"
        raise UsageError(f"{config.kept_token} is not there: {hint}") from None
    except PermissionError:
        options.need_root("reading the token")
        raise


def _rotate(config: Config, wanted: str) -> int:
    """A running server reads the file at every question, so the new one counts at once, and the old one no more."""
    if config.token or config.token_file:
        raise UsageError("the server is given its token by a flag, a file or a variable: change it there, and start the server again")
    kept = _kept(config)
    secret = JoinToken.parse(wanted).secret if wanted else secrets.token_hex(NEW_SECRET_BYTES)
    if len(secret) < 8:
        raise UsageError("--new-token: at least 8 characters")
    token = JoinToken(secret, kept.user, kept.authority_hash)
    try:
        files.write_atomically(config.kept_token, f"{token}\n", files.SECRET_MODE)
    except PermissionError:
        options.need_root("writing the token")
        raise
    print(token)
    return 0


async def _act(config: Config, found: argparse.Namespace) -> int:
    client, transport = access.admin(config)
    try:
        await ACTIONS[found.action](client, config, found)
    except errors.NotFound as exc:
        print(f"edgek token: there is no such token: {exc}", file=sys.stderr)
        return 1
    except (Disconnected, errors.ApiError) as exc:
        print(f"edgek token: {exc}", file=sys.stderr)
        return 1
    finally:
        transport.close()
    return 0


async def _create(client: Client, config: Config, found: argparse.Namespace) -> None:
    token = JoinToken.parse(found.token).secret if found.token else _generated()
    if not BOOTSTRAP.fullmatch(token):
        raise UsageError("a token is six characters, a dot and sixteen more, of a-z and 0-9; `edgek token generate` prints one")
    await client.create(kinds.SECRET, bootstrap_secret(token, found.ttl, found.description), SECRETS_NAMESPACE)
    authorities = (config.pki_dir / "server-ca.crt").read_bytes()
    print(JoinToken(token, "", authority_hash(split_pem(authorities)[0])))


async def _list(client: Client, config: Config, found: argparse.Namespace) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("TOKEN", "ENDS", "DESCRIPTION"):
        table.add_column(column, overflow="fold")
    for secret in (await client.list(kinds.SECRET, SECRETS_NAMESPACE, fields=f"type={BOOTSTRAP_TYPE}")).items:
        ends = _text(secret, "expiration")
        over = bool(ends) and wallclock.parse(ends) <= wallclock.now()
        table.add_row(_text(secret, "token-id"), f"{ends or 'never'}{' (over)' if over else ''}", _text(secret, "description"))
    Console(highlight=False).print(table)


async def _delete(client: Client, config: Config, found: argparse.Namespace) -> None:
    for token in found.tokens:
        name = JoinToken.parse(token).secret.partition(".")[0]
        await client.delete(kinds.SECRET, f"{BOOTSTRAP_PREFIX}{name}", SECRETS_NAMESPACE)
        print(f"{name} is worthless now")


ACTIONS: dict[str, Action] = {"create": _create, "list": _list, "delete": _delete}


def bootstrap_secret(token: str, ttl_s: int, description: str) -> Object:
    """The Secret that makes a token known, as kubeadm lays it out."""
    name, _, secret = token.partition(".")
    texts = {
        "token-id": name,
        "token-secret": secret,
        "usage-bootstrap-authentication": "true",
        "auth-extra-groups": "system:bootstrappers:edgek:node",
        "description": description,
        "expiration": wallclock.rfc3339(wallclock.now() + ttl_s) if ttl_s else "",
    }
    encoded = {key: base64.b64encode(text.encode()).decode() for key, text in texts.items() if text}
    return {"metadata": {"name": f"{BOOTSTRAP_PREFIX}{name}"}, "type": BOOTSTRAP_TYPE, "data": encoded}


def _text(secret: Object, key: str) -> str:
    return base64.b64decode((secret.get("data") or {}).get(key, "")).decode()


def _generated() -> str:
    return ".".join("".join(secrets.choice(LETTERS) for _ in range(length)) for length in (6, 16))


def _seconds(text: str) -> int:
    found = re.fullmatch(r"(\d+)([smhd]?)", text)
    if not found:
        raise argparse.ArgumentTypeError("a time is a number and s, m, h or d, such as 24h")
    return int(found[1]) * UNITS[found[2] or "s"]
