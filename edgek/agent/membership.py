"""A node's place in its cluster: what it keeps of having joined, below ``agent/``, and how it stays a member for years.

Certificates are renewed months before they end. Those of a board that lay on a shelf meanwhile have ended: it then shows none, and proves itself by
the secret that it made when it joined. When the cluster has new authorities the node follows, by the word of those it trusts so far.
"""

from __future__ import annotations

import math
import random
import secrets
import ssl
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import attrs
import trio

from edgek.agent.trust import Bare, Trust
from edgek.client.client import decoded
from edgek.client.https import Choice, HttpsTransport, Server
from edgek.client.joining import FORGOTTEN, RENEW_PATH, SERVER_NAME, Application, Cluster, Welcome
from edgek.client.transport import Disconnected, Request
from edgek.config import Config
from edgek.host import files, log, occasion, pki
from edgek.host.pki import Pair, Subject
from edgek.host.worker import Worker
from edgek.model import errors
from edgek.model.credentials import authority_hash, split_pem
from edgek.model.errors import UsageError

DEFAULT_PORT = 6443
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
        """The cluster knows us no more: the next start of the agent joins again, if it has a token. What runs is left running.

        It joins with a new secret: of two machines, one the copy of the other, the first to join has the name, and the other is told.
        """
        self.folder.cluster.unlink(missing_ok=True)
        self.folder.password.unlink(missing_ok=True)

    def note_refusal(self, why: str) -> None:
        """For ``edgek status``: why the server takes no link, or empty."""
        file = self.config.refusal_file
        try:
            if why:
                file.write_text(why)
            else:
                file.unlink(missing_ok=True)
        except OSError as exc:
            log.debug("cannot note why there is no link", file=file, error=exc)

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
        keys = await Worker(1).run(make_keys, name)
        asked = application(self.config, self.folder, keys)
        transport = HttpsTransport(Choice(*_servers(self._asked, self.cluster, Bare(self.trust))) if bare else self.choice)
        try:
            answer = await transport.request(Request("POST", RENEW_PATH, headers={"content-type": "application/json"}, body=asked.encode()))
        finally:
            transport.close()
        self._tried = trio.current_time()
        decoded(answer)
        welcome = Welcome.decode(answer.body)
        keep_certificates(self.folder, keys, welcome)
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


def make_keys(name: str) -> tuple[Pair, Pair]:
    """Blocks for some milliseconds. The server decides what the certificates say."""
    return pki.make_request(Subject(f"system:node:{name}")), pki.make_request(Subject(f"system:node:{name}"))


def application(config: Config, folder: Folder, keys: tuple[Pair, Pair]) -> Application:
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


def keep_certificates(folder: Folder, keys: tuple[Pair, Pair], welcome: Welcome) -> None:
    pki.save(folder.client, Pair(welcome.client_certificate.encode(), keys[0].key))
    pki.save(folder.serving, Pair(welcome.serving_certificate.encode(), keys[1].key))
    files.write_atomically(folder.client_authority, welcome.client_authority)


def _asked(config: Config) -> tuple[str, ...]:
    return (config.join,) if config.join else ()


def _servers(asked: tuple[str, ...], cluster: Cluster, trust: Trust | Bare) -> list[Server]:
    """The address that was asked for comes first: it is the one known to work from here."""
    places = dict.fromkeys(place(url) for url in (*asked, *cluster.servers))
    return [Server(host, port, trust, name=SERVER_NAME) for host, port in places]


def place(url: str) -> tuple[str, int]:
    """Raises UsageError."""
    parts = urlsplit(url if "://" in url else f"https://{url}")
    try:
        port = DEFAULT_PORT if parts.port is None else parts.port
    except ValueError:
        port = 0
    if parts.scheme != "https" or not parts.hostname or not port or parts.path not in ("", "/"):
        raise UsageError(f"--join {url}: say https://HOST:6443")
    return parts.hostname, port
