"""gRPC served from trio: each call is answered by an async function, which is cancelled when nobody waits for the answer any more.

The library brings its threads: one for each call under way, at most CALLS. It is loaded when serving begins, and wakes once a second while it serves:
what runs in edgek's own process is better called without it.
"""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import struct
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import trio

from edgek.host import log
from edgek.host.message import Values
from edgek.host.rpc import BIGGEST_MESSAGE_BYTES, Method, RpcError

CALLS = 16  # at once; the others wait in line
SOCKET_MODE = 0o600
COMMAND_MOST = 120  # characters of another's command line

Answer = Callable[[Values], Awaitable[Values]]


async def serve(path: Path, answers: Mapping[Method, Answer], *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
    """Answer calls on a unix socket until cancelled. Replaces a socket that was left behind, refuses one that is served; raises OSError.

    An answer that raises RpcError refuses the call with its code and details.
    """
    os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")  # as in rpc.py
    from concurrent.futures import ThreadPoolExecutor

    import grpc

    border = _Border(trio.lowlevel.current_trio_token())
    server = grpc.server(ThreadPoolExecutor(CALLS, "grpc call"), options=[("grpc.max_receive_message_length", BIGGEST_MESSAGE_BYTES)])
    server.add_generic_rpc_handlers(tuple(_handlers(grpc, border, answers)))
    _listen(server, path)
    server.start()
    try:
        task_status.started()
        await trio.sleep_forever()
    finally:
        border.close()
        server.stop(None)
        with suppress(FileNotFoundError):
            os.unlink(path)


def _listen(server: Any, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with _alone(path.parent):  # gRPC itself would put its socket in the place of any that is there
        if path.is_socket():
            _refuse_served(path)
            path.unlink()
        elif os.path.lexists(path):
            raise FileExistsError(errno.EEXIST, "is there and is no socket", str(path))
        try:
            server.add_insecure_port(f"unix://{path}")
        except RuntimeError as exc:
            raise OSError(f"cannot listen on {path}: {exc}") from None
        path.chmod(SOCKET_MODE)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Two that begin at once do not both find a socket left behind. The lock goes with its holder."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _refuse_served(path: Path) -> None:
    """Raises OSError where somebody listens, and names them."""
    with socket.socket(socket.AF_UNIX) as caller:
        caller.setblocking(False)
        try:
            caller.connect(str(path))
        except ConnectionRefusedError:
            return
        except BlockingIOError:  # nobody takes calls just now, but somebody listens
            raise OSError(errno.EADDRINUSE, "is served already: stop who serves it first", str(path)) from None
        pid, _, _ = struct.unpack("3i", caller.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i")))
    raise OSError(errno.EADDRINUSE, f"is served already by {_process(pid)}: stop that first", str(path))


def _process(pid: int) -> str:
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        words = ""
    return f"process {pid}" + (f" ({words[:COMMAND_MOST]})" if words else "")


def _handlers(grpc: Any, border: _Border, answers: Mapping[Method, Answer]) -> list[Any]:
    by_service: dict[str, dict[str, Any]] = {}
    for method, answer in answers.items():
        service, name = method.path.strip("/").split("/")
        by_service.setdefault(service, {})[name] = grpc.unary_unary_rpc_method_handler(
            border.behaviour(grpc, method, answer), request_deserializer=method.request.decode, response_serializer=method.response.encode
        )
    return [grpc.method_handlers_generic_handler(service, methods) for service, methods in by_service.items()]


class _Border:
    """Between gRPC's threads and the event loop."""

    def __init__(self, token: trio.lowlevel.TrioToken) -> None:
        self._token = token
        self._scopes: set[trio.CancelScope] = set()

    def close(self) -> None:
        for scope in self._scopes:
            scope.cancel()

    def behaviour(self, grpc: Any, method: Method, answer: Answer) -> Callable[[Values, Any], Values]:
        """What runs in a thread of gRPC for each call."""

        def run(request: Values, context: Any) -> Values:
            scope = trio.CancelScope()

            def over() -> None:
                with suppress(trio.RunFinishedError):
                    self._token.run_sync_soon(scope.cancel)

            if not context.add_callback(over):
                over()  # it is over already, and nobody would call us
            try:
                return trio.from_thread.run(self._answer, method, answer, request, scope, trio_token=self._token)
            except RpcError as refusal:
                code, details = refusal.code, refusal.details
            except (trio.RunFinishedError, trio.Cancelled):
                code, details = "UNAVAILABLE", "the server is stopping"
            context.abort(grpc.StatusCode[code], details)
            return {}  # not reached: abort raises

        return run

    async def _answer(self, method: Method, answer: Answer, request: Values, scope: trio.CancelScope) -> Values:
        self._scopes.add(scope)
        try:
            with scope:
                return await answer(request)
        except RpcError:
            raise
        except Exception as exc:  # the border of a request: an error of ours is logged and told, and serving goes on
            log.error("a call failed", method=method.path, error=f"{type(exc).__name__}: {exc}")
            raise RpcError("INTERNAL", f"{type(exc).__name__}: {exc}") from exc
        finally:
            self._scopes.discard(scope)
        raise RpcError("CANCELLED", "nobody waits for the answer any more")
