"""``edgek certificate``: what certificates this machine has and when they end, new ones before that, and other authorities."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import trio

from edgek.cli import access, certificate_table, options
from edgek.client.https import HttpsTransport, Server
from edgek.client.joining import AUTHORITY_PATH, FOLLOWED, PASSWORD_SUFFIX, SECRETS_NAMESPACE
from edgek.client.transport import Disconnected, Request
from edgek.config import Config
from edgek.host import der, pki, tls, wallclock
from edgek.model import errors, kinds, objects
from edgek.model.errors import UsageError
from edgek.server import certificates
from edgek.server import pki as server_pki
from edgek.server.pki import Keys

if TYPE_CHECKING:
    from rich.table import Table

TAKEN_UP_S = 15.0  # within which a server that runs shows what is new
LOOK_S = 0.2
WIDE = 220  # columns, for who reads it with a program
KUBELET = "kubelet"
NAMES = (*certificates.LEAVES, KUBELET)
FLAGS = (*access.OPTIONS, "write-kubeconfig", "node-name", "join")

CANNOT_VOUCH = """
The former authority may not vouch for another one (its pathLenConstraint is 0). Nodes that are linked follow all the same; those that are away now
join again with the new token, and whoever has only the former authority (pods that read it when they started, copies of the kubeconfig) needs the
new one."""

AFTER_NEW_AUTHORITIES = """\
Both are trusted now, the former authorities and the new ones, and nothing has to be done at once:
- nodes that are linked follow by themselves within seconds, others when they are back; no token is needed for that
- pods' kube-root-ca.crt names both; a program that reads it only when it starts goes on with the former one
- `edgek token` prints the new token; that of before works until the end
- {kubeconfig} is written anew; give copies of it to those who have copies
- `edgek backup`: one of before has the former authorities, and restored later it would not be believed
When all nodes were back, pods that are older than an hour were restarted and kubeconfigs were given out: `edgek certificate rotate-ca --finish`."""


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="edgek certificate", description="Certificates of this machine, the server's and the agent's.")
    options.add(parser, FLAGS)
    actions = parser.add_subparsers(dest="action", required=True)
    places = argparse.ArgumentParser(add_help=False, argument_default=argparse.SUPPRESS)  # the same flags may stand behind the action
    options.add(places, FLAGS)
    checking = actions.add_parser("check", help="list them all with their ends; the exit code is 1 where one has ended", parents=[places])
    checking.add_argument("-o", "--output", choices=["text", "json"], default="text")
    rotating = actions.add_parser("rotate", help="make new ones, while edgek runs or not", parents=[places])
    rotating.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(NAMES)} (all that are here)")
    replacing = actions.add_parser("rotate-ca", help="replace the authorities; nobody has to join again", parents=[places])
    replacing.add_argument("--path", type=Path, metavar="DIR", help="with your own: server-ca.crt and server-ca.key and so on (edgek makes them)")
    replacing.add_argument("--finish", action="store_true", help="trust the former authorities no more")
    replacing.add_argument("--end-tokens", action="store_true", help="with --finish: service account tokens that are signed by a former key end, too")
    replacing.add_argument("--force", action="store_true", help="with --finish: do not ask which nodes have followed")
    found = options.parse(parser, arguments)
    config = options.configure(found)
    try:
        match found.action:
            case "check":
                return _check(config, found.output)
            case "rotate":
                options.need_root("making certificates")
                return _rotate(config, found.names)
        options.need_root("replacing authorities")
        return trio.run(_finish, config, found.force, found.end_tokens) if found.finish else _replace(config, found.path)
    except PermissionError as exc:
        raise UsageError(f"{exc.filename} is root's; try with sudo") from None
    except ValueError as exc:
        raise UsageError(str(exc)) from None


def _check(config: Config, output: str) -> int:
    now = pki.sane_now()
    entries = certificate_table.entries(config, now)
    if not entries:
        raise UsageError(f"{config.data_dir} holds no certificates: start edgek once, or name its --data-dir")
    if output == "json":
        print(json.dumps([_plain(entry, now) for entry in entries], indent=2))
    else:
        from rich.console import Console

        Console(highlight=False, width=None if sys.stdout.isatty() else WIDE).print(_table(entries, now))
    return 1 if any(entry.verdict in certificate_table.BAD for entry in entries) else 0


def _plain(entry: certificate_table.Entry, now: float) -> dict[str, Any]:
    found = entry.found
    plain: dict[str, Any] = {"name": entry.name, "file": str(entry.file), "verdict": entry.verdict}
    if found is None:
        return plain
    names = {"subject": found.common_name, "organizations": list(found.organizations), "issuer": found.issuer_name, "names": list(found.names)}
    return {**plain, **names, "ends": wallclock.rfc3339(found.not_after), "daysLeft": entry.days(now)}


def _table(entries: Sequence[certificate_table.Entry], now: float) -> Table:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("CERTIFICATE", "SUBJECT", "ISSUER", "ENDS", "DAYS LEFT", "VERDICT"):
        table.add_column(column, overflow="fold")
    for entry in entries:
        found, verdict = entry.found, entry.verdict
        color = "red" if verdict in certificate_table.BAD else "green" if verdict == "good" else "yellow"
        said = certificate_table.SAYS.get(verdict, "")
        judged = f"[{color}]{verdict}[/]" + (f": {said}" if said else "")
        if found is None:
            table.add_row(entry.name, str(entry.file), "", "", "", judged)
        else:
            table.add_row(entry.name, found.common_name, found.issuer_name, wallclock.rfc3339(found.not_after), str(entry.days(now)), judged)
    return table


def _rotate(config: Config, names: Sequence[str]) -> int:
    from edgek.agent import join

    unknown = [name for name in names if name not in NAMES]
    if unknown:
        raise UsageError(f"there is no certificate {unknown[0]!r}: name some of {', '.join(NAMES)}")
    is_server = server_pki.serving_path(config.pki_dir).exists()
    membership = join.kept(config)
    here = [*(certificates.LEAVES if is_server else ()), *([KUBELET] if membership else ())]
    wanted = [name for name in here if name in names or not names]
    missing = [name for name in names if name not in here]
    if missing or not wanted:
        raise UsageError(f"{config.data_dir} holds no certificate {missing[0] if missing else 'at all'}: name edgek's --data-dir")
    code = 0
    leaves = [name for name in wanted if name != KUBELET]
    if leaves:
        keys = certificates.rotate(config.pki_dir, leaves)
        print(f"made anew: {', '.join(leaves)}")
        code = trio.run(_tell_whether_taken_up, config, keys)
    if KUBELET in wanted and membership is not None:
        try:
            trio.run(membership.renew)
        except (Disconnected, errors.ApiError) as exc:
            print(f"edgek certificate: the server gives no new certificate for the node: {exc}", file=sys.stderr)
            return 1
        print("made anew: kubelet; an agent that runs shows it from its next connection on")
    return code


def _replace(config: Config, path: Path | None) -> int:
    folder = config.pki_dir
    if not server_pki.serving_path(folder).exists():
        raise UsageError(f"{folder} holds no authorities: this is done on the server, which was started once; or name its --data-dir")
    given, account_key = certificates.given_in(path) if path else (None, b"")
    former = pki.load(server_pki.authority_path(folder, server_pki.SERVER_CA))
    replaced = certificates.rotate_authorities(folder, given, account_key)
    if account_key or given is None:
        replaced = [*replaced, "the key for service account tokens"]
    print(f"replaced: {', '.join(replaced)}")
    keys = server_pki.open_keys(folder, certificates.served_names(folder))
    code = trio.run(_tell_whether_taken_up, config, keys)
    print(f"\n{AFTER_NEW_AUTHORITIES.format(kubeconfig=config.write_kubeconfig)}")
    if server_pki.SERVER_CA in replaced and former is not None and not pki.may_vouch(former):
        print(CANNOT_VOUCH)
    return code


async def _finish(config: Config, force: bool, end_tokens: bool) -> int:
    folder = config.pki_dir
    if not certificates.is_under_way(folder) and not end_tokens:
        raise UsageError("no former authority is trusted any more: there is nothing to finish")
    if not force and (left := await _not_followed(config)):
        print(
            f"edgek certificate: {', '.join(left)} {'has' if len(left) == 1 else 'have'} not followed yet and would be left out: wait until "
            "they were linked, forget them (`edgek node forget`), or say --force; they then join again with the new token",
            file=sys.stderr,
        )
        return 1
    keys = certificates.finish(folder, end_tokens=end_tokens)
    print("the former authorities are trusted no more")
    return await _tell_whether_taken_up(config, keys)


async def _not_followed(config: Config) -> list[str]:
    """Joined nodes whose certificates are of before. Raises UsageError where nobody can tell."""
    client, transport = access.admin(config)
    try:
        records = (await client.list(kinds.SECRET, SECRETS_NAMESPACE, fields="type=edgek.io/node-password")).items
    except (Disconnected, errors.ApiError) as exc:
        raise UsageError(f"the server does not say which nodes have followed: {exc}; start it, or say --force") from None
    finally:
        transport.close()
    digest = server_pki.open_keys(config.pki_dir, certificates.served_names(config.pki_dir)).digest
    behind = [record for record in records if objects.annotations(record).get(FOLLOWED) != digest]
    return [objects.name(record).removesuffix(PASSWORD_SUFFIX) for record in behind]


async def _tell_whether_taken_up(config: Config, keys: Keys) -> int:
    """Whether a server that runs here shows the certificate that lies on the disk, and names the authorities that do."""
    host = "127.0.0.1" if config.bind_address == "0.0.0.0" else config.bind_address
    server = Server(host, config.https_listen_port, tls.client_context(keys.server_authorities.decode()))
    transport = HttpsTransport(server)
    with trio.move_on_after(TAKEN_UP_S):
        while True:
            try:
                shown = await _shown(server)
                named = (await transport.request(Request("GET", AUTHORITY_PATH))).body
            except Disconnected as exc:
                if isinstance(exc.__cause__, ConnectionRefusedError):
                    print("no server runs here: it counts from the next start on")
                    return 0
            else:
                if (shown, named) == (der.from_pem(keys.serving.certificate), keys.server_authorities):
                    print("the server that runs shows its certificate of now, and was not restarted")
                    return 0
            finally:
                transport.close()
            await trio.sleep(LOOK_S)
    print(f"edgek certificate: the server on {server} does not show it: restart it", file=sys.stderr)
    return 1


async def _shown(server: Server) -> bytes | None:
    channel = await server.dial()
    try:
        return channel.peer_certificate()
    finally:
        channel.close()
