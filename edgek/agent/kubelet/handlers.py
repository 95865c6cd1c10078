"""Asking a container something: by a command in it, over HTTP, TCP or gRPC. Probes and lifecycle hooks are both made of these."""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import Mapping
from typing import Any

import attrs
import trio

from edgek.agent.runtime.runtime import Runtime, RuntimeFailure, RuntimeGone
from edgek.model.objects import Object

HEAD_MOST = 64 << 10  # bytes of an answer before its body: who sends more is no server that is to be asked
BODY_MOST = 10 << 10  # bytes of a body that are read at all
REDIRECTS_MOST = 10


@attrs.frozen
class Answer:
    ok: bool
    text: str = ""
    warning: bool = False  # it counts as good, but people should hear of it


@attrs.frozen
class Target:
    """The container that is asked."""

    container_id: str
    ip: str
    container: Object


async def ask(handler: Mapping[str, Any], target: Target, runtime: Runtime, timeout_s: float) -> Answer:
    """Never raises for what the container does wrong. ``runtime.RuntimeGone`` travels."""
    try:
        with trio.fail_after(timeout_s):
            if handler.get("exec"):
                return await _exec(handler["exec"], target, runtime, timeout_s)
            if handler.get("httpGet"):
                return await _http(handler["httpGet"], target)
            if handler.get("tcpSocket"):
                return await _tcp(handler["tcpSocket"], target)
            if handler.get("grpc"):
                return await _grpc(handler["grpc"], target, timeout_s)
            if handler.get("sleep"):
                await trio.sleep(float(handler["sleep"]["seconds"]))
            return Answer(True)
    except trio.TooSlowError:
        if handler.get("exec"):
            return Answer(False, f'command timed out: "{" ".join(handler["exec"].get("command") or ())}" timed out after {timeout_s:g}s')
        return Answer(False, "context deadline exceeded (Client.Timeout exceeded while awaiting headers)")


async def _exec(handler: Mapping[str, Any], target: Target, runtime: Runtime, timeout_s: float) -> Answer:
    try:
        done = await runtime.exec_sync(target.container_id, handler.get("command") or (), timeout_s)
    except RuntimeGone:
        raise
    except RuntimeFailure as exc:
        return Answer(False, str(exc))
    return Answer(done.exit_code == 0, (done.stdout + done.stderr)[:BODY_MOST].decode(errors="replace"))


async def _tcp(handler: Mapping[str, Any], target: Target) -> Answer:
    host, port = handler.get("host") or target.ip, port_of(handler["port"], target.container)
    try:
        stream = await trio.open_tcp_stream(host, port)
    except OSError as exc:
        return Answer(False, f"dial tcp {host}:{port}: {_plain(exc)}")
    await stream.aclose()
    return Answer(True)


def port_of(port: object, container: Object) -> int:
    """A number, or the name of one of the container's ports; 0 where there is none."""
    if isinstance(port, int) or str(port).isdigit():
        return int(str(port))
    return next((int(p["containerPort"]) for p in container.get("ports") or () if p.get("name") == port), 0)


async def _http(handler: Mapping[str, Any], target: Target) -> Answer:
    host = handler.get("host") or target.ip
    port = port_of(handler["port"], target.container)
    scheme, path = str(handler.get("scheme") or "HTTP").lower(), str(handler.get("path") or "/")
    path = path if path.startswith("/") else f"/{path}"
    headers = {"Host": f"{host}:{port}", "User-Agent": "kube-probe/1.36", "Accept": "*/*"}
    for entry in handler.get("httpHeaders") or ():
        match = next((key for key in headers if key.lower() == entry["name"].lower()), entry["name"])
        headers[match] = entry["value"]
    headers = {name: value for name, value in headers.items() if value}
    for _ in range(REDIRECTS_MOST):
        url = f"{scheme}://{host}:{port}{path}"
        try:
            code, found, body = await _get(scheme, host, port, path, headers)
        except (OSError, trio.BrokenResourceError, ssl.SSLError, ValueError) as exc:
            return Answer(False, f'Get "{url}": {_plain(exc)}')
        location = found.get("location", "")
        if 300 <= code < 400 and location.startswith("/"):
            path = location
            continue
        if 300 <= code < 400 and location.startswith(f"{scheme}://{host}:{port}/"):
            path = location[len(f"{scheme}://{host}:{port}") :]
            continue
        if 300 <= code < 400 and location:
            return Answer(True, f"Probe terminated redirects, Response body: {body}", warning=True)
        if 200 <= code < 400:
            return Answer(True, body)
        return Answer(False, f"HTTP probe failed with statuscode: {code}")
    return Answer(False, f'Get "{url}": stopped after {REDIRECTS_MOST} redirects')


async def _get(scheme: str, host: str, port: int, path: str, headers: Mapping[str, str]) -> tuple[int, dict[str, str], str]:
    raw: trio.abc.Stream = await trio.open_tcp_stream(host, port)
    try:
        if scheme == "https":
            context = ssl.create_default_context()
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # a probe asks whether it lives, not who it is
            raw = trio.SSLStream(raw, context, server_hostname=host, https_compatible=True)
        lines = [f"GET {path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items()), "Connection: close", "", ""]
        await raw.send_all("\r\n".join(lines).encode())
        received = b""
        while not _enough(received):
            chunk = await raw.receive_some(BODY_MOST)
            if not chunk:
                break
            received += chunk
    finally:
        with contextlib.suppress(trio.BrokenResourceError):
            await trio.aclose_forcefully(raw)
    return _parsed(received)


def _enough(received: bytes) -> bool:
    """Whether the answer is whole, or as much of it is here as is read at all."""
    head, blank, body = received.partition(b"\r\n\r\n")
    if not blank or len(body) >= BODY_MOST:
        return len(received) >= (BODY_MOST if blank else HEAD_MOST)
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"content-length" and value.strip().isdigit():
            return len(body) >= int(value)
    return False


def _parsed(received: bytes) -> tuple[int, dict[str, str], str]:
    """Raises ValueError for what is not HTTP."""
    head, blank, body = received.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    words = first.split(" ", 2)
    if not blank or not words[0].startswith("HTTP/") or len(words) < 2 or not words[1].isdigit():
        raise ValueError("EOF" if not received else f"malformed HTTP response {first[:60]!r}")
    headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    return int(words[1]), headers, body[:BODY_MOST].decode(errors="replace")


async def _grpc(handler: Mapping[str, Any], target: Target, timeout_s: float) -> Answer:
    from edgek.host import rpc
    from edgek.host.message import Message, number, text

    health = rpc.Method("/grpc.health.v1.Health/Check", Message(service=text(1)), Message(status=number(1)))
    channel = rpc.Channel(f"{target.ip}:{port_of(handler['port'], target.container)}")
    try:
        answer = await channel.call(health, {"service": handler.get("service") or ""}, timeout_s=timeout_s)
    except rpc.RpcError as exc:
        return Answer(False, f"error: health rpc probe failed: {exc.details}")
    finally:
        channel.close()
    words = ("UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN")
    status = int(answer["status"])
    shown = words[status] if status < len(words) else str(status)
    return Answer(status == 1, f"service {'healthy' if status == 1 else 'unhealthy'} (responded with {shown!r})".replace("'", '"'))


def _plain(exc: BaseException) -> str:
    """The innermost reason, as Go prints it."""
    if isinstance(exc, BaseExceptionGroup):
        return _plain(exc.exceptions[0])
    if exc.__cause__ is not None:
        return _plain(exc.__cause__)
    if isinstance(exc, ConnectionRefusedError):
        return "connect: connection refused"
    return str(exc) or type(exc).__name__
