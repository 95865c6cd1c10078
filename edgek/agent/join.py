"""Become a node of a cluster elsewhere: token, authority, certificates. What is kept of them, and how it stays one, is ``membership.py``.

A node that has joined starts from what it kept, whether its server answers or not; the token is only needed the first time, or for another cluster.
Nothing secret is sent before the server has shown that it holds the authority which the token names.
"""

from __future__ import annotations

import random
import ssl
from collections.abc import Sequence
from pathlib import Path

import attrs
import trio

from edgek.agent.membership import Folder, Membership, application, keep_certificates, make_keys, place
from edgek.client.client import decoded
from edgek.client.https import HttpsTransport, Server
from edgek.client.joining import AUTHORITY_PATH, JOIN_PATH, SERVER_NAME, Cluster, Welcome
from edgek.client.transport import Disconnected, Request, Response
from edgek.config import Config, given_token
from edgek.host import der, files, log, tls, wallclock
from edgek.host.worker import Worker
from edgek.model import errors
from edgek.model.credentials import JoinToken, authority_hash
from edgek.model.errors import UsageError

RETRY_FIRST_S = 1.0
RETRY_MOST_S = 15.0


async def enter(config: Config) -> Membership:
    """The node's place in the cluster that ``config`` asks for: kept from before, or asked for now, until an answer comes.

    Raises UsageError when the answer is no, and says what to do about it.
    """
    token = read_token(config)
    folder = Folder(config.agent_dir)
    found = _kept(config, folder, token)
    if found is not None:
        return found
    if not config.join or token is None:
        raise UsageError(_missing(config, token))
    wait_s, complained = RETRY_FIRST_S, ""
    while True:
        try:
            return await _join(config, folder, token)
        except (Disconnected, errors.ApiError) as exc:
            if str(exc) != complained:
                complained = str(exc)
                log.warning("cannot join yet, trying again and again", server=config.join, error=exc)
        await trio.sleep(wait_s * random.uniform(0.5, 1.0))
        wait_s = min(wait_s * 2, RETRY_MOST_S)


def _missing(config: Config, token: JoinToken | None) -> str:
    wanted = [*([] if config.join else ["--join https://HOST:6443"]), *([] if token else ["--token TOKEN (or --token-file FILE)"])]
    return f"this machine has not joined, so the agent needs {' and '.join(wanted)}; `edgek token` on the server prints the token"


def kept(config: Config) -> Membership | None:
    """What the agent on this machine keeps of having joined, for others to look at. Raises PermissionError."""
    folder = Folder(config.agent_dir)
    try:
        cluster = Cluster.decode(folder.cluster.read_bytes())
        return Membership(attrs.evolve(config, node_name=_common_name(folder.client).removeprefix("system:node:")), folder, cluster)
    except (FileNotFoundError, errors.BadRequest, ValueError, ssl.SSLError):
        return None


def read_token(config: Config) -> JoinToken | None:
    """Raises UsageError."""
    text = given_token(config).strip()
    return JoinToken.parse(text) if text else None


def _kept(config: Config, folder: Folder, token: JoinToken | None) -> Membership | None:
    """Nothing where nothing was kept, or what was is of another cluster, another name, or has run out."""
    try:
        cluster = Cluster.decode(folder.cluster.read_bytes())
        if token is not None and not token.trusts(folder.server_authority.read_bytes()) and token.authority_hash not in _followed(folder):
            log.info("this token is of another cluster: joining that", server=config.join)
            return None
        if _common_name(folder.client) != f"system:node:{config.node_name}":
            log.info("the node has another name now: joining as that", node=config.node_name)
            return None
        return Membership(config, folder, cluster)
    except FileNotFoundError:
        return None
    except (errors.BadRequest, ValueError, ssl.SSLError) as exc:
        log.warning("what was kept of joining cannot be read: joining again", error=exc)
        return None


def _followed(folder: Folder) -> Sequence[str]:
    try:
        return folder.followed.read_text().split()
    except FileNotFoundError:
        return ()


def _common_name(chain: Path) -> str:
    return der.read(der.from_pem(chain.read_bytes())).common_name


async def _join(config: Config, folder: Folder, token: JoinToken) -> Membership:
    host, port = place(config.join)
    authority = await _authority(host, port, token)
    keys = await Worker(1).run(make_keys, config.node_name)
    transport = HttpsTransport(Server(host, port, tls.client_context(authority), lambda: token.secret, name=SERVER_NAME))
    asked = application(config, folder, keys)
    try:
        answer = await transport.request(Request("POST", JOIN_PATH, headers={"content-type": "application/json"}, body=asked.encode()))
    except Disconnected as exc:
        if isinstance(exc.__cause__, ssl.SSLCertVerificationError):
            raise UsageError(await _why_not_believed(host, port, authority, exc.__cause__)) from None
        raise
    finally:
        transport.close()
    welcome = _welcome(answer)
    folder.followed.unlink(missing_ok=True)
    files.write_atomically(folder.server_authority, welcome.server_authority or authority)
    keep_certificates(folder, keys, welcome)
    files.write_atomically(folder.cluster, welcome.cluster.encode(), files.SECRET_MODE)
    log.info("joined", server=config.join, node=config.node_name)
    return Membership(config, folder, welcome.cluster)


async def _why_not_believed(host: str, port: int, authority: str, error: ssl.SSLCertVerificationError) -> str:
    """What is wrong with the certificate that this server showed."""
    if error.verify_code not in tls.OUT_OF_TIME:
        return (
            f"{host}:{port} shows the cluster's authority but holds no certificate of it ({error.verify_message}): somebody may stand "
            "between this machine and the server. The token was not sent"
        )
    chain = [der.from_pem(authority.encode()), await _shown_certificate(host, port)]
    read = [der.read(each) for each in chain if each]
    first, last = max(each.not_before for each in read), min(each.not_after for each in read)
    return (
        f"this machine's clock says {wallclock.now_rfc3339()}, and the certificate of {host}:{port} is valid from {wallclock.rfc3339(first)} "
        f"to {wallclock.rfc3339(last)}: set the clock (`date -s`, or let chrony or systemd-timesyncd do it), then join. The token was not sent"
    )


async def _shown_certificate(host: str, port: int) -> bytes:
    """In DER; nothing where it cannot be had any more."""
    try:
        channel = await Server(host, port, tls.blind_context()).dial()
    except Disconnected:
        return b""
    try:
        return channel.peer_certificate() or b""
    finally:
        channel.close()


async def _authority(host: str, port: int, token: JoinToken) -> str:
    """The server's word for who vouches for it, as far as the token vouches for that. Raises UsageError."""
    transport = HttpsTransport(Server(host, port, tls.blind_context()))
    try:
        answer = await transport.request(Request("GET", AUTHORITY_PATH))
    finally:
        transport.close()
    if answer.status != 200:
        raise UsageError(f"{host}:{port} answers, but it is no edgek server ({AUTHORITY_PATH} gave {answer.status}); see --join")
    if not token.trusts(answer.body):
        raise UsageError(
            f"{host}:{port} has the authority {authority_hash(answer.body)[:12]}..., the token is for {token.authority_hash[:12]}...: it is another "
            "cluster's token, or one of before this cluster's authorities were replaced, or somebody stands between. The token was not sent; "
            "`edgek token` on the server prints the right one"
        )
    if not token.authority_hash:
        log.warning(
            "the token names no authority, so whoever answers is trusted; use the whole token (K10...)", authority=authority_hash(answer.body)
        )
    return token.trusted(answer.body).decode()


def _welcome(answer: Response) -> Welcome:
    """Raises UsageError for a refusal that will stay one, ApiError for one that may pass."""
    try:
        decoded(answer)
    except (errors.Unauthorized, errors.Conflict, errors.Forbidden, errors.BadRequest, errors.NotFound) as exc:
        raise UsageError(f"the server refuses this node: {exc.message}") from None
    return Welcome.decode(answer.body)
