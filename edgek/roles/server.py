"""The parts of a server in their order. What a part leaves for those after it stands in the attributes of ``Server``.

Imports of parts stand where they are used, so that a server without a node loads nothing of one.
"""

from __future__ import annotations

import errno
import functools
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import trio

from edgek.client.client import Client
from edgek.client.events import Recorder
from edgek.client.informer import Informers
from edgek.client.joining import LINK_PATH, Cluster
from edgek.config import Config, given_token
from edgek.host import files, log, occasion, tls
from edgek.host.service import Service
from edgek.model import credentials, errors
from edgek.model.errors import UsageError
from edgek.roles import anew
from edgek.roles.whereabouts import Whereabouts
from edgek.server import pki
from edgek.server.api.app import Api
from edgek.server.api.default_objects import Settings
from edgek.server.api.identity import AUTHENTICATED_GROUP, User
from edgek.server.api.streams.doors import Doors
from edgek.server.pki import Keys
from edgek.server.store.backend import Backend

if TYPE_CHECKING:
    from edgek.server.api.authn import Authenticator
    from edgek.server.api.joining import Entrance
    from edgek.server.api.tokens import ServiceAccountTokens

CERTIFICATE_CHECK_S = 12 * 3600.0  # certificates are renewed months before they end: twice a day is often

CONTROLLERS_USER = User("system:kube-controller-manager", groups=(AUTHENTICATED_GROUP,))
ACCOUNT_GROUPS = ("system:serviceaccounts", "system:serviceaccounts:kube-system", AUTHENTICATED_GROUP)
SCHEDULER_USER = User("system:kube-scheduler", groups=(AUTHENTICATED_GROUP,))


class Server:
    """The parts of a server. Attributes are there once the service that makes them has started."""

    backend: Backend
    api: Api
    keys: Keys
    _shown: tls.Serving
    _tokens: ServiceAccountTokens
    _authenticator: Authenticator

    def __init__(self, config: Config) -> None:
        self.config = config
        self.doors = Doors()
        self.where = Whereabouts(config)
        self._moved = trio.Event()
        self._new_authorities = trio.Event()

    def services(self) -> Iterator[Service]:
        config = self.config
        yield Service("store", self.run_store)
        yield Service("api", self.run_api)
        yield Service("certificates", self.run_certificates)
        yield Service("default objects", self.run_default_objects)
        yield Service("whereabouts", functools.partial(self.where.run, self._follow))
        yield Service("backups", self.run_backups)
        if not config.disable_controller_manager:
            yield Service("controllers", self.run_controllers)
        if not config.disable_scheduler:
            yield Service("scheduler", self.run_scheduler)
        if not config.disable_agent:
            from edgek.roles.agent import Agent

            as_node = functools.partial(self.client, self._node_user())
            yield from Agent(config, self.where.node_ip, as_node, self.doors.open).services()

    def client(self, user: User, agent_name: str) -> Client:
        """The API for a part of this process, as that user."""
        from edgek.server.api.local import LocalTransport

        return Client(LocalTransport(self.api, user), agent_name)

    async def run_store(self, *, task_status: trio.TaskStatus[None]) -> None:
        from edgek.server.store.sqlite import SqliteBackend

        with _kept_in(self.config.data_dir):
            files.make_private(self.config.server_dir)
            files.make_private(self.config.database.parent)
        with _naming_last_backup(self.config):
            async with SqliteBackend.open(self.config.database) as self.backend:
                task_status.started()
                await trio.sleep_forever()

    async def run_backups(self, *, task_status: trio.TaskStatus[None]) -> None:
        from edgek.server import backup_schedule
        from edgek.server.backup_schedule import Schedule

        config = self.config
        schedule = Schedule(config.backup_dir, config.backup_interval, config.backup_keep)
        await backup_schedule.run(config.data_dir, schedule, task_status=task_status)

    async def run_api(self, *, task_status: trio.TaskStatus[None]) -> None:
        from edgek.server.api import assembly, bootstrap
        from edgek.server.api.admission.base import Defaults
        from edgek.server.api.authn import Authenticator, read_token_file
        from edgek.server.api.authz import Authorizer
        from edgek.server.api.bootstrap_tokens import BootstrapTokens
        from edgek.server.api.node_records import NodeRecords
        from edgek.server.api.tokens import ServiceAccountTokens
        from edgek.server.resources import unserved

        config = self.config
        with _kept_in(config.data_dir):
            self._open_keys()
        anew.lighten()
        issuer = f"https://kubernetes.default.svc.{config.cluster_domain}"
        keys = self.keys
        tokens = self._tokens = ServiceAccountTokens(self.backend, keys.service_account_key, issuer=issuer, former_keys=keys.former.account_keys)
        authenticator = self._authenticator = Authenticator(
            tokens=tokens,
            static_tokens=read_token_file(config.token_auth_file) if config.token_auth_file else {},
            client_ca=keys.node_authorities,
            front_proxy_ca=keys.front_proxy_authorities,
            anonymous=config.anonymous_auth,
            bootstrap=BootstrapTokens(self.backend),
            records=NodeRecords(self.backend),
        )
        first, last = config.service_node_port_range
        self.api = assembly.assemble(
            self.backend,
            authenticator=authenticator,
            authorizer=Authorizer(self.backend),
            tokens=tokens,
            service_cidr=config.service_cidr,
            node_ports=range(first, last + 1),
            nodes=self.doors,
            notices=unserved.no_notices if config.disable_controller_manager else unserved.notices,
            defaults=Defaults(config.default_not_ready_toleration_seconds, config.default_unreachable_toleration_seconds),
        )
        await bootstrap.ensure_defaults(self.client(bootstrap.USER, "edgek-apiserver"), self._defaults(), agents=True)
        self._shown = tls.Serving(keys.serving_file, keys.client_authorities.decode())
        with _listener(config.bind_address, config.https_listen_port) as listener:
            self._write_kubeconfig()
            log.info("serving", address=self.where.servers[0], kubeconfig=config.write_kubeconfig)
            await assembly.serve(self.api, [listener], self._shown, before=self._entrance(authenticator).before, task_status=task_status)

    def _open_keys(self) -> None:
        config = self.config
        self.keys = pki.open_keys(config.pki_dir, self.where.names)
        pki.open_token(config.kept_token, self.keys, given_token(config))
        if config.agent_token:
            pki.open_token(config.kept_agent_token, self.keys, config.agent_token, user="node")

    async def run_certificates(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Renew while running, when it is time or a command has done it: a box that stays up for years must not go dark."""
        with occasion.occasions(self.config.pki_dir) as occasions:
            task_status.started()
            while True:
                await occasions.wait(CERTIFICATE_CHECK_S)
                before = self.keys
                try:
                    self._renew_certificates()
                except (OSError, ValueError, UsageError) as exc:
                    log.error("certificates cannot be renewed: what was there before is shown on", error=exc)
                    continue
                if _authorities(self.keys) != _authorities(before):
                    await self._tell()
                if not _authorities(before) <= _authorities(self.keys):
                    self._links.end_all("a former authority is trusted no more: dial again")

    def _renew_certificates(self) -> None:
        before = self.keys
        self._open_keys()
        keys = self.keys
        if keys == before:
            return
        self._shown.renew(keys.serving_file, keys.client_authorities.decode())
        self._authenticator.trust(keys.node_authorities, keys.front_proxy_authorities)
        self._tokens.renew(keys.service_account_key, keys.former.account_keys)
        self._write_kubeconfig()
        if _authorities(keys) != _authorities(before):
            changed, self._new_authorities = self._new_authorities, trio.Event()
            changed.set()
        log.info("certificates renewed")

    async def _follow(self) -> None:
        """This machine has other addresses: the certificate names them, and everybody is told."""
        self._renew_certificates()
        await self._tell()

    async def _tell(self) -> None:
        """What the API says of itself is mended, and nodes that are linked hear of it."""
        moved, self._moved = self._moved, trio.Event()
        moved.set()
        await self._links.tell_servers()

    async def run_default_objects(self, *, task_status: trio.TaskStatus[None]) -> None:
        from edgek.server.api import bootstrap

        client = self.client(bootstrap.USER, "edgek-apiserver")
        moved = self._moved
        while True:
            async with trio.open_nursery() as nursery:
                await nursery.start(bootstrap.keep_defaults, client, self._defaults())
                task_status.started()
                task_status = trio.TASK_STATUS_IGNORED
                await moved.wait()
                nursery.cancel_scope.cancel()
            moved = self._moved
            await self._mend_defaults(client)

    async def _mend_defaults(self, client: Client) -> None:
        from edgek.server.api import bootstrap

        mended = False
        while not mended:
            try:
                await bootstrap.ensure_defaults(client, self._defaults(), agents=True)
                mended = True
            except* errors.ApiError as group:
                log.warning("the endpoints of the API cannot be changed yet", error=group.exceptions[0])
                await trio.sleep(bootstrap.MEND_AGAIN_S)

    async def run_controllers(self, *, task_status: trio.TaskStatus[None]) -> None:
        """They begin anew where pods have to trust another authority, which happens every few years."""
        while True:
            changed = self._new_authorities
            async with trio.open_nursery() as nursery:
                await nursery.start(self._run_controllers)
                task_status.started()
                task_status = trio.TASK_STATUS_IGNORED
                await changed.wait()
                nursery.cancel_scope.cancel()

    async def _run_controllers(self, *, task_status: trio.TaskStatus[None]) -> None:
        from edgek.client import reconcile
        from edgek.client.reconcile import Cluster
        from edgek.server.controllers import CONTROLLERS, user_of

        shared = self.client(CONTROLLERS_USER, "kube-controller-manager")
        informers, recorder = Informers(shared), Recorder(shared, "controllermanager")
        settings = reconcile.Settings(
            root_ca=self.keys.server_authorities.decode(),
            pod_cidr=self.config.cluster_cidr,
            node_grace_s=self.config.node_monitor_grace_period,
            not_ready_s=self.config.default_not_ready_toleration_seconds,
            unreachable_s=self.config.default_unreachable_toleration_seconds,
        )
        async with trio.open_nursery() as nursery:
            nursery.start_soon(recorder.run)
            for make in CONTROLLERS:
                own = self.client(User(user_of(make), groups=ACCOUNT_GROUPS), f"kube-controller-manager/{make.name}")
                nursery.start_soon(reconcile.run, make(Cluster(own, informers, recorder, settings)))
            await nursery.start(informers.run)
            task_status.started()

    async def run_scheduler(self, *, task_status: trio.TaskStatus[None]) -> None:
        from edgek.server.scheduler.loop import Scheduler

        client = self.client(SCHEDULER_USER, "kube-scheduler")
        informers, recorder = Informers(client), Recorder(client, "default-scheduler")
        scheduler = Scheduler(client, informers, recorder)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(recorder.run)
            nursery.start_soon(informers.run)
            await nursery.start(scheduler.run)
            task_status.started()

    def _entrance(self, authenticator: Authenticator) -> Entrance:
        from edgek.server.api import bootstrap
        from edgek.server.api.join_tokens import JoinTokens
        from edgek.server.api.joining import Entrance
        from edgek.server.api.node_records import NodeRecords
        from edgek.server.api.streams.link import Links

        client = self.client(bootstrap.USER, "edgek-join")
        entrance = Entrance(
            authenticator=authenticator,
            tokens=JoinTokens([self.config.kept_token, self.config.kept_agent_token], client),
            client=client,
            keys=lambda: self.keys,
            cluster=self._cluster,
            names=lambda: self.where.names,
        )
        links = self._links = Links(self.api, self.doors, entrance.node_of, lambda: self.where.servers, lambda: self.keys.server_authorities)
        entrance.add(LINK_PATH, links)
        self._forgetting = NodeRecords(self.backend).on_forgotten(lambda name: links.end(name, "the node was forgotten"))
        return entrance

    def _cluster(self) -> Cluster:
        """What a joining node is told."""
        config = self.config
        network = (config.cluster_cidr, config.service_cidr, config.cluster_dns, config.cluster_domain, config.flannel_backend)
        return Cluster(self.where.servers, *network)

    def _node_user(self) -> User:
        return User(f"system:node:{self.config.node_name}", groups=("system:nodes", AUTHENTICATED_GROUP))

    def _defaults(self) -> Settings:
        config = self.config
        return Settings(
            service_cidr=config.service_cidr,
            advertise_address=self.where.advertised,
            port=config.https_listen_port,
            client_ca=self.keys.node_authorities,
            front_proxy_ca=self.keys.front_proxy_authorities,
            cluster_dns="" if config.disable_controller_manager else config.cluster_dns,
            local_storage=not config.disable_controller_manager,
        )

    def _write_kubeconfig(self) -> None:
        config = self.config
        host = "127.0.0.1" if config.bind_address in ("0.0.0.0", "127.0.0.1") else config.bind_address
        text = credentials.kubeconfig(
            f"https://{host}:{config.https_listen_port}", self.keys.server_authorities, self.keys.admin.certificate, self.keys.admin.key
        )
        path = config.write_kubeconfig
        try:
            if not path.exists() or path.read_text() != text:
                files.write_atomically(path, text, config.write_kubeconfig_mode)
        except OSError as exc:
            raise UsageError(f"--write-kubeconfig {path} cannot be written: {exc.strerror}; name another place") from exc


def _authorities(keys: Keys) -> frozenset[bytes]:
    return frozenset(credentials.split_pem(keys.server_authorities + keys.client_authorities))


@contextmanager
def _kept_in(data_dir: Path) -> Iterator[None]:
    """What is wrong with our own files, said with the file and the way out."""
    try:
        yield
    except OSError as exc:
        raise UsageError(f"--data-dir {data_dir}: {exc.filename or 'a file'} cannot be used: {exc.strerror}; mend that, or choose another") from exc
    except ValueError as exc:
        raise UsageError(str(exc)) from exc


@contextmanager
def _naming_last_backup(config: Config) -> Iterator[None]:
    """Where only a backup helps, say which."""
    from edgek.server import backup_schedule
    from edgek.server.store.rows import Unreadable

    try:
        yield
    except Unreadable:
        last = backup_schedule.newest(config.backup_dir)
        log.error("the last good backup", file=last or "none", next=f"edgek restore {last}" if last else f"look for a copy of {config.server_dir}")
        raise


def _listener(address: str, port: int) -> socket.socket:
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((address, port))
    except OSError as exc:
        listener.close()
        hint = "stop what listens there (`ss -ltnp` shows it) or use --https-listen-port" if exc.errno == errno.EADDRINUSE else "see --bind-address"
        raise UsageError(f"the API cannot listen on {address}:{port}: {exc.strerror}; {hint}") from None
    return listener
