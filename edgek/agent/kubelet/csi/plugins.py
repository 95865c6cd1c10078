"""Storage drivers of others: each puts a socket into the kubelet's ``plugins_registry``, and is asked there what it is.

The folder is heard of by inotify. A driver is here as long as its socket is; one whose process died and left it is refused when it is called, and
comes anew when its process does. The protocol is upstream's ``pluginregistration.v1``.
"""

from __future__ import annotations

import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import trio

from edgek.agent.kubelet.csi.drivers import Driver, Drivers
from edgek.host import log, watch
from edgek.host.message import EMPTY, Message, Values, flag, text, texts
from edgek.host.rpc import Channel, Method, RpcError, Unreachable

CSI_PLUGIN = "CSIPlugin"
ANSWER_MOST_S = 10.0
NODE_ANSWER_MOST_S = 60.0  # it may have to ask a cloud
RETRY_FIRST_S = 0.5
RETRY_MOST_S = 60.0
DEAF_TRIES = 6  # for a socket at which nobody listens: it was left behind, and a new process makes a new one

_INFO = Message(type=text(1), name=text(2), endpoint=text(3), supported_versions=texts(4))
GET_INFO = Method("/pluginregistration.Registration/GetInfo", EMPTY, _INFO)
NOTIFY = Method("/pluginregistration.Registration/NotifyRegistrationStatus", Message(plugin_registered=flag(1), error=text(2)), EMPTY)


class Refused(Exception):
    """What registers is none of ours; the message is told to it."""


class Endpoint:
    """A driver's own socket. The connection is made when it is called, and dropped when nobody answers: gRPC would try again ten times a second."""

    def __init__(self, address: str) -> None:
        self._target = f"unix://{address.removeprefix('unix://')}"
        self._channel: Channel | None = None

    async def call(self, method: Method, values: Mapping[str, Any], *, timeout_s: float | None) -> Values:
        channel = self._channel = self._channel or Channel(self._target)
        try:
            return await channel.call(method, values, timeout_s=timeout_s)
        except Unreachable:
            if self._channel is channel:
                self.close()
            raise

    def close(self) -> None:
        if self._channel is not None:
            self._channel.close()
            self._channel = None


class Plugins:
    """``built_in`` are names that nobody else may take."""

    def __init__(self, folder: Path, drivers: Drivers) -> None:
        self._folder = folder
        self._drivers = drivers
        self.built_in: frozenset[str] = frozenset()
        self._lives: dict[str, trio.CancelScope] = {}  # by the socket's name

    async def run(self) -> None:
        """Raises OSError where the folder cannot be watched."""
        mask = watch.CREATED | watch.MOVED_IN | watch.DELETED | watch.MOVED_OUT
        async with trio.open_nursery() as nursery:
            with watch.folder(self._folder, mask) as changes:
                self._look_at_all(nursery)
                async for change in changes:
                    if change.missed:
                        self._look_at_all(nursery)
                    else:
                        self._look(nursery, change.name)

    def _look_at_all(self, nursery: trio.Nursery) -> None:
        for name in {*self._lives, *(found.name for found in self._folder.iterdir())}:
            self._look(nursery, name)

    def _look(self, nursery: trio.Nursery, name: str) -> None:
        """Something happened to it: whatever was there is not there any more, or is another."""
        former = self._lives.pop(name, None)
        if former is not None:
            former.cancel()
        if not name.startswith(".") and _is_socket(self._folder / name):
            scope = self._lives[name] = trio.CancelScope()
            nursery.start_soon(self._live, self._folder / name, scope)

    async def _live(self, socket: Path, scope: trio.CancelScope) -> None:
        """From its registration until its socket goes."""
        with scope:
            pause_s, deaf = RETRY_FIRST_S, 0
            while deaf < DEAF_TRIES:
                try:
                    await self._register(socket)
                except Unreachable as exc:
                    deaf += 1
                    log.debug("nobody answers at a plugin's socket", socket=socket, error=exc)
                except (RpcError, Refused) as exc:
                    log.warning("a plugin is not registered", socket=socket, error=exc, retry_s=pause_s)
                await trio.sleep(pause_s)
                pause_s = min(2 * pause_s, RETRY_MOST_S)

    async def _register(self, socket: Path) -> None:
        """Ends only by an error: RpcError, Refused."""
        registrar = Channel(f"unix://{socket}")
        try:
            about = await registrar.call(GET_INFO, {}, timeout_s=ANSWER_MOST_S)
            try:
                endpoint, driver = await self._meet(socket, about)
            except (RpcError, Refused) as exc:
                await registrar.call(NOTIFY, {"plugin_registered": False, "error": str(exc)}, timeout_s=ANSWER_MOST_S)
                raise
            try:
                await self._serve(registrar, driver)
            finally:
                self._drivers.drop(driver)
                endpoint.close()
        finally:
            registrar.close()

    async def _meet(self, socket: Path, about: Values) -> tuple[Endpoint, Driver]:
        from edgek.csi import messages

        name = about["name"]
        if about["type"] != CSI_PLUGIN:
            raise Refused(f"no handler registered for plugin type: {about['type']} at socket {socket}")
        if name in self.built_in:
            raise Refused(f"the driver {name} is built in, it cannot be registered")
        if not any(version.removeprefix("v").startswith("1.") for version in about["supported_versions"]):
            raise Refused(f"none of the CSI versions {about['supported_versions']} of {name} is supported here: 1.x is")
        endpoint = Endpoint(about["endpoint"] or str(socket))
        try:
            node = await endpoint.call(messages.NODE_GET_INFO, {}, timeout_s=NODE_ANSWER_MOST_S)
        except BaseException:
            endpoint.close()
            raise
        topology = (node["accessible_topology"] or {}).get("segments") or {}
        return endpoint, Driver(name, node["node_id"], topology, node["max_volumes_per_node"], lambda: endpoint)

    async def _serve(self, registrar: Channel, driver: Driver) -> None:
        self._drivers.put(driver)
        await registrar.call(NOTIFY, {"plugin_registered": True}, timeout_s=ANSWER_MOST_S)
        registrar.close()
        log.info("storage driver registered", driver=driver.name, node_id=driver.node_id)
        try:
            await trio.sleep_forever()
        finally:
            log.info("storage driver unregistered", driver=driver.name)


def _is_socket(path: Path) -> bool:
    try:
        return stat.S_ISSOCK(path.lstat().st_mode)
    except FileNotFoundError:
        return False
