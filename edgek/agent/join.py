"""Become a node of a cluster elsewhere, and stay one: token, authority, certificates, and what is kept of them below ``agent/``.

A node that has joined starts from what it kept, whether its server answers or not; the token is only needed the first time, or for another cluster.
Nothing secret is sent before the server has shown that it holds the authority which the token names.

Certificates are renewed months before they end. Those of a board that lay on a shelf meanwhile have ended: it then shows none, and proves itself by
the secret that it made when it joined. When the cluster has new authorities the node follows, by the word of those it trusts so far.
"""

from __future__ import annotations

import math
import random
import secrets
import ssl
from collections.abc import Callable, Sequence
from pathlib import Path
from urllib.parse import urlsplit

import attrs
import trio

from edgek.agent.trust import Bare, Trust
from edgek.client.client import decoded
from edgek.client.https import Choice, HttpsTransport, Server
from edgek.client.joining import AUTHORITY_PATH, FORGOTTEN, JOIN_PATH, RENEW_PATH, SERVER_NAME, Application, Cluster, Welcome
from edgek.client.transport import Disconnected, Request, Response
from edgek.config import Config, given_token
from edgek.host import der, files, log, occasion, pki, tls, wallclock
from edgek.host.pki import Pair, Subject
from edgek.host.worker import Worker
from edgek.model import errors
from edgek.model.credentials import JoinToken, authority_hash, split_pem
from edgek.model.errors import UsageError

DEFAULT_PORT = 6443
RETRY_FIRST_S = 1.0
RETRY_MOST_S = 15.0
RENEWAL_CHECK_S = 12 * 3600.0
RENEWAL_RETRY_S = 600.0
DOUBT_S = 30.0  # between two attempts to find out why the server takes no link


@attrs.frozen
class Folder:
    """What a joined node keeps. Keys and its own secret are for root alone."""

    path: Path

    @property
    def client(self) -> Path:
        return self.path / "client.pem"

    @property
    def serving(self) -> Path:
        return self.path / "serving.pem"

    @property
    def server_authority(self) -> Path:
        return self.path / "server-ca.crt"

    @property
    def client_authority(self) -> Path:
        return self.path / "client-ca.crt"

    @property
    def cluster(self) -> Path:
        return self.path / "cluster.json"

    @property
    def followed(self) -> Path:
        """Hashes of the authorities that this cluster had before: a token of then is still one of this cluster."""
        return self.path / "former-authorities"

    @property
    def seen(self) -> Path:
        return self.path / "seen.json"

    @property
    def password(self) -> Path:
        return self.path / "node-password"


class Membership:
    """A node's place in its cluster. ``choice`` is shared by all who dial the servers."""

    def __init__(self, config: Config, folder: Folder, cluster: Cluster) -> None:
        self.folder = folder
        self.cluster = cluster
        self.trust = Trust(folder.server_authority.read_text(), folder.client, folder.seen)
        self._unsaved = False
        self.linked: Callable[[], bool] = lambda: False
        self.choice = Choice(*_servers(_asked(config), cluster, self.trust))
        self._asked = _asked(config)
        self._wanted = self._refused = False
        self._look = trio.Event()
        self._tried = -math.inf
        self._loaded = folder.client.read_bytes()
        # The cluster says how its network is made; flags of a node do not.
        self.config = attrs.evolve(
            config,
            cluster_cidr=cluster.cluster_cidr,
            service_cidr=cluster.service_cidr,
            cluster_dns=cluster.cluster_dns,
            cluster_domain=cluster.cluster_domain,
            flannel_backend=cluster.flannel_backend,
        )

    def learn(self, cluster: Cluster) -> None:
        """The servers have moved, perhaps: written only when they did."""
        if cluster.servers in ((), self.cluster.servers):
            if self._unsaved:
                self._save()
            return
        self.cluster = attrs.evolve(self.cluster, servers=cluster.servers)
        self._save()
        self.choice.learn(_servers(self._asked, self.cluster, self.trust))
        log.info("the servers' addresses changed", servers=",".join(cluster.servers))

    def _save(self) -> None:
        """On a full disk: the next time we are linked. Until then it is known to this process alone, and that is said once."""
        try:
            files.write_atomically(self.folder.cluster, self.cluster.encode(), files.SECRET_MODE)
            self._unsaved = False
        except OSError as exc:
            if not self._unsaved:
                log.warning("cannot keep the servers' addresses yet", file=self.folder.cluster, error=exc)
            self._unsaved = True

    def forgotten(self) -> None:
        """The cluster knows us no more: the next start of the agent joins again, if it has a token. What runs is left running."""
        self.folder.cluster.unlink(missing_ok=True)

    def learn_authorities(self, digest: str) -> None:
        """The hash of those that vouch for the server we are linked to. Where it is another than ours, they are asked for."""
        if digest and digest != authority_hash(self.folder.server_authority.read_bytes()):
            self._want_renewal()

    def follow(self, authorities: bytes) -> None:
        """Somebody else vouches for the servers, by the word of one that we trust. What is no certificate changes nothing. Raises OSError."""
        former = self.folder.server_authority.read_bytes()
        if authorities == former:
            return
        try:
            self.trust.follow(authorities.decode())
        except (ValueError, ssl.SSLError) as exc:
            log.warning("the cluster's new authorities cannot be read", error=exc)
            return
        known = self.folder.followed.read_text() if self.folder.followed.exists() else ""
        gone = [authority_hash(each) for each in split_pem(former)]
        files.write_atomically(self.folder.followed, known + "".join(f"{each}\n" for each in gone if each not in known))
        files.write_atomically(self.folder.server_authority, authorities)
        log.info("the cluster has other authorities", authorities=",".join(authority_hash(each)[:12] for each in split_pem(authorities)))
        self._want_renewal()

    def doubted(self) -> None:
        """A server that is known to be ours hangs up on us: our certificate may have ended by its clock, if not by ours."""
        if trio.current_time() - self._tried > DOUBT_S:
            self._refused = True
            self._want_renewal()

    def _want_renewal(self) -> None:
        self._wanted = True
        self._look.set()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Keep the certificates new, and the newest time. Open connections stay as they are."""
        with occasion.occasions(self.folder.path) as occasions:
            task_status.started()
            try:
                while True:
                    self._look = trio.Event()
                    self._tell_time()
                    self._reload()
                    pause_s = RENEWAL_CHECK_S * random.uniform(0.8, 1.2)
                    if self._wanted or any(map(_is_due, (self.folder.client, self.folder.serving))):
                        pause_s = await self._try_to_renew() or pause_s
                    await occasions.wait(pause_s, self._look.wait)
            finally:
                self._tell_time()
                self.trust.keep()

    def _tell_time(self) -> None:
        if self.linked():
            self.trust.tell_time()

    def _reload(self) -> None:
        """A command may have renewed the certificate in our place. What cannot be read is made anew."""
        try:
            found = self.folder.client.read_bytes()
            if found != self._loaded:
                self.trust.reload()
                self._loaded = found
        except (OSError, ValueError) as exc:
            log.warning("the node's certificate cannot be read", file=self.folder.client, error=exc)

    async def _try_to_renew(self) -> float | None:
        """After how long to try again, where it did not work."""
        self._wanted = False
        try:
            await self.renew()
        except (errors.ApiError, Disconnected, OSError) as exc:
            log.warning("certificates cannot be renewed yet", error=exc, retry_s=RENEWAL_RETRY_S)
            if isinstance(exc, errors.Unauthorized) and FORGOTTEN in exc.message:
                self.forgotten()
            return RENEWAL_RETRY_S
        return None

    async def renew(self) -> None:
        """New certificates, and the authorities as they are now. Raises ApiError, Disconnected, OSError."""
        name = self.config.node_name
        bare = self._refused or _is_due(self.folder.client, days=0)
        self._refused = False
        keys = await Worker(1).run(_make_keys, name)
        asked = _application(self.config, self.folder, keys)
        transport = HttpsTransport(Choice(*_servers(self._asked, self.cluster, Bare(self.trust))) if bare else self.choice)
        try:
            answer = await transport.request(Request("POST", RENEW_PATH, headers={"content-type": "application/json"}, body=asked.encode()))
        finally:
            transport.close()
        self._tried = trio.current_time()
        decoded(answer)
        welcome = Welcome.decode(answer.body)
        _keep_certificates(self.folder, keys, welcome)
        self._reload()
        self.follow(welcome.server_authority.encode() or self.folder.server_authority.read_bytes())
        self._wanted = False  # these are of the newest authorities already
        self.learn(welcome.cluster)
        log.info("certificates renewed")


def _is_due(file: Path, days: float = pki.RENEW_DAYS) -> bool:
    """What is not there, or is no certificate, is due."""
    try:
        return pki.renewal_is_due(file.read_bytes(), days)
    except (OSError, ValueError):
        return True


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
    host, port = _place(config.join)
    authority = await _authority(host, port, token)
    keys = await Worker(1).run(_make_keys, config.node_name)
    transport = HttpsTransport(Server(host, port, tls.client_context(authority), lambda: token.secret, name=SERVER_NAME))
    asked = _application(config, folder, keys)
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
    _keep_certificates(folder, keys, welcome)
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


def _make_keys(name: str) -> tuple[Pair, Pair]:
    """Blocks for some milliseconds. The server decides what the certificates say."""
    return pki.make_request(Subject(f"system:node:{name}")), pki.make_request(Subject(f"system:node:{name}"))


def _application(config: Config, folder: Folder, keys: tuple[Pair, Pair]) -> Application:
    addresses = (config.node_ip,) if config.node_ip else ()
    return Application(config.node_name, _password(folder), keys[0].certificate.decode(), keys[1].certificate.decode(), addresses)


def _password(folder: Folder) -> str:
    """The node's own secret, made once."""
    try:
        return folder.password.read_text().strip()
    except FileNotFoundError:
        made = secrets.token_hex(16)
        files.write_atomically(folder.password, f"{made}\n", files.SECRET_MODE)
        return made


def _keep_certificates(folder: Folder, keys: tuple[Pair, Pair], welcome: Welcome) -> None:
    pki.save(folder.client, Pair(welcome.client_certificate.encode(), keys[0].key))
    pki.save(folder.serving, Pair(welcome.serving_certificate.encode(), keys[1].key))
    files.write_atomically(folder.client_authority, welcome.client_authority)


def _asked(config: Config) -> tuple[str, ...]:
    return (config.join,) if config.join else ()


def _servers(asked: tuple[str, ...], cluster: Cluster, trust: Trust | Bare) -> list[Server]:
    """The address that was asked for comes first: it is the one known to work from here."""
    places = dict.fromkeys(_place(url) for url in (*asked, *cluster.servers))
    return [Server(host, port, trust, name=SERVER_NAME) for host, port in places]


def _place(url: str) -> tuple[str, int]:
    """Raises UsageError."""
    parts = urlsplit(url if "://" in url else f"https://{url}")
    try:
        port = DEFAULT_PORT if parts.port is None else parts.port
    except ValueError:
        port = 0
    if parts.scheme != "https" or not parts.hostname or not port or parts.path not in ("", "/"):
        raise UsageError(f"--join {url}: say https://HOST:6443")
    return parts.hostname, port
