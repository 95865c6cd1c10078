"""The CNI plugin: ADD, DEL, CHECK and VERSION, asked by the shim over a unix socket, answered from the agent's memory.

https://www.cni.dev/docs/spec/ says what comes and what goes. One request per connection: CNI_* variables, each ended by NUL, one more NUL, then the
configuration; the answer is one byte of exit code and the text for standard output.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs
import orjson
import trio

from edgek.cni.ipam import NoAddressLeft
from edgek.cni.mappings import HostPort
from edgek.cni.network import GATEWAY, HOST_MAC, Attachment, NotReady, PodNetwork
from edgek.host import log

VERSIONS = ("0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0")
TRY_AGAIN, BAD_ENVIRONMENT, BAD_CONTENT, BAD_CONFIG, IO_FAILURE, NO_ADDRESS = 11, 4, 6, 7, 5, 100  # 100 and above are a plugin's own
REQUEST_BYTES = 1 << 20  # a configuration has a kilobyte
REQUEST_S = 30.0  # containerd gives up on a sandbox later than that
AT_ONCE = 64  # requests being answered; more wait in the socket's queue
BACKLOG = 256
ACCEPT_AGAIN_S = 1.0


@attrs.frozen
class Refused(Exception):
    """An error of the specification: code and message."""

    code: int
    message: str


async def serve(network: PodNetwork, path: Path, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
    """Answer shims until cancelled."""
    listener = _listen(path)
    limit = trio.CapacityLimiter(AT_ONCE)
    try:
        async with trio.open_nursery() as nursery:
            task_status.started()
            while True:
                try:
                    stream = trio.SocketStream((await listener.accept())[0])
                except OSError as error:  # out of file descriptors, most likely
                    log.error("cannot answer the pod network's plugin", error=error)
                    await trio.sleep(ACCEPT_AGAIN_S)
                    continue
                nursery.start_soon(_connection, network, stream, limit)
    finally:
        listener.close()


async def answer(network: PodNetwork, environment: Mapping[str, str], content: bytes) -> tuple[int, bytes]:
    """Exit code and output for one call."""
    version = "0.4.0"
    try:
        if environment.get("CNI_COMMAND") == "VERSION":
            return 0, orjson.dumps({"cniVersion": VERSIONS[-1], "supportedVersions": VERSIONS})
        config = _config(content)
        version = config.get("cniVersion", version)
        result = await _carry_out(network, environment, config)
    except Refused as refused:
        return 1, orjson.dumps({"cniVersion": version, "code": refused.code, "msg": refused.message})
    return 0, orjson.dumps({"cniVersion": version, **result}) if result else b""


async def _carry_out(network: PodNetwork, environment: Mapping[str, str], config: Mapping[str, Any]) -> dict[str, Any]:
    command, container_id = environment.get("CNI_COMMAND"), environment.get("CNI_CONTAINERID", "")
    netns, interface = environment.get("CNI_NETNS", ""), environment.get("CNI_IFNAME", "eth0")
    if not container_id.replace("-", "").isalnum():
        raise Refused(BAD_ENVIRONMENT, f"CNI_CONTAINERID {container_id!r} is not an id")
    if command == "DEL":
        if config.get("type") != "loopback":
            await network.detach(container_id)
        return {}
    if command not in ("ADD", "CHECK"):
        raise Refused(BAD_ENVIRONMENT, f"CNI_COMMAND {command!r} is unknown; known are ADD, CHECK, DEL and VERSION")
    try:
        if config.get("type") == "loopback":
            await network.loopback(netns)
            return _loopback(netns) if command == "ADD" else {}
        if command == "CHECK":
            await network.check(container_id)
            return {}
        return _result(await network.attach(container_id, netns, interface, _ports(config), _pod(environment)), config["cniVersion"])
    except NotReady as error:
        raise Refused(TRY_AGAIN, str(error)) from error
    except NoAddressLeft as error:
        raise Refused(NO_ADDRESS, str(error)) from error
    except OSError as error:
        log.warning("pod network failed", command=command, container=container_id[:12], why=error)
        raise Refused(IO_FAILURE, str(error)) from error


async def _connection(network: PodNetwork, stream: trio.SocketStream, limit: trio.CapacityLimiter) -> None:
    async with stream, limit:
        with trio.move_on_after(REQUEST_S):
            try:
                environment, content = await _request(stream)
                code, output = await answer(network, environment, content)
                await stream.send_all(bytes((code,)) + output)
            except Refused as refused:
                await stream.send_all(b"\1" + orjson.dumps({"cniVersion": "0.4.0", "code": refused.code, "msg": refused.message}))
            except trio.BrokenResourceError:
                return  # containerd gave up on it


async def _request(stream: trio.SocketStream) -> tuple[dict[str, str], bytes]:
    raw = bytearray()
    async for chunk in stream:
        raw += chunk
        if len(raw) > REQUEST_BYTES:
            raise Refused(BAD_CONTENT, f"the request is longer than {REQUEST_BYTES} bytes")
    variables, _, content = bytes(raw).partition(b"\0\0")
    pairs = (pair.decode(errors="replace").partition("=") for pair in variables.split(b"\0"))
    return {name: value for name, _, value in pairs}, content


def _config(content: bytes) -> dict[str, Any]:
    try:
        config = orjson.loads(content)
    except orjson.JSONDecodeError as error:
        raise Refused(BAD_CONTENT, f"the configuration is not JSON: {error}") from error
    if not isinstance(config, dict) or config.setdefault("cniVersion", "0.4.0") not in VERSIONS:
        raise Refused(BAD_CONFIG, f"cniVersion is none of {VERSIONS}")
    return config


def _pod(environment: Mapping[str, str]) -> str:
    """The uid of the pod, as containerd names it among the arguments."""
    pairs = dict(pair.partition("=")[::2] for pair in environment.get("CNI_ARGS", "").split(";"))
    return pairs.get("K8S_POD_UID", "")


def _ports(config: Mapping[str, Any]) -> tuple[HostPort, ...]:
    """containerd writes ``HostPort`` where the specification says ``hostPort``: programs in Go, which most plugins are, do not mind."""
    listed = (config.get("runtimeConfig") or {}).get("portMappings") or ()
    wanted = [{name.lower(): value for name, value in port.items()} for port in listed]
    return tuple(
        HostPort(port.get("protocol", "tcp").lower(), port["hostport"], port["containerport"], port.get("hostip", ""))
        for port in wanted
        if port.get("hostport")
    )


def _result(attachment: Attachment, version: str) -> dict[str, Any]:
    address = {"interface": 1, "address": f"{attachment.address}/32", "gateway": str(GATEWAY)}
    return {
        "interfaces": [
            {"name": attachment.host_interface, "mac": HOST_MAC},
            {"name": attachment.interface, "mac": attachment.mac, "sandbox": attachment.netns},
        ],
        "ips": [{"version": "4", **address} if version.startswith("0.") else address],
        "routes": [{"dst": "0.0.0.0/0", "gw": str(GATEWAY)}],
        "dns": {},
    }


def _loopback(netns: str) -> dict[str, Any]:
    return {"interfaces": [{"name": "lo", "sandbox": netns}], "ips": [{"version": "4", "interface": 0, "address": "127.0.0.1/8"}], "dns": {}}


def _listen(path: Path) -> trio.socket.SocketType:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    raw = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    raw.bind(str(path))
    path.chmod(0o600)
    raw.listen(BACKLOG)
    return trio.socket.from_stdlib_socket(raw)
