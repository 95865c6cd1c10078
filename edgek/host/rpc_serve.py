"""gRPC served from trio: each call is answered by an async function, which is cancelled when nobody waits for the answer any more.

The library brings its threads: one for each call under way, at most CALLS. It is loaded when serving begins, and wakes once a second while it serves:
what runs in edgek's own process is better called without it.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import trio

from edgek.host import log
from edgek.host.message import Values
from edgek.host.rpc import BIGGEST_MESSAGE_BYTES, Method, RpcError

CALLS = 16  # at once; the others wait in line
SOCKET_MODE = 0o600

Answer = Callable[[Values], Awaitable[Values]]


async def serve(socket: Path, answers: Mapping[Method, Answer], *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
    """Answer calls on a unix socket until cancelled. Replaces a socket that was left behind; raises OSError.

    An answer that raises RpcError refuses the call with its code and details.
    """
    os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")  # as in rpc.py
    from concurrent.futures import ThreadPoolExecutor

    import grpc

    border = _Border(trio.lowlevel.current_trio_token())
    server = grpc.server(ThreadPoolExecutor(CALLS, "grpc call"), options=[("grpc.max_receive_message_length", BIGGEST_MESSAGE_BYTES)])
    server.add_generic_rpc_handlers(tuple(_handlers(grpc, border, answers)))
    _listen(server, socket)
    server.start()
    try:
        task_status.started()
        await trio.sleep_forever()
    finally:
        border.close()
        server.stop(None)
        with suppress(FileNotFoundError):
            os.unlink(socket)


def _listen(server: Any, socket: Path) -> None:
    socket.parent.mkdir(parents=True, exist_ok=True)
    if socket.is_socket():
        socket.unlink()
    elif os.path.lexists(socket):
        raise FileExistsError(errno.EEXIST, "is there and is no socket", str(socket))
    try:
        server.add_insecure_port(f"unix://{socket}")
    except RuntimeError as exc:
        raise OSError(f"cannot listen on {socket}: {exc}") from None
    socket.chmod(SOCKET_MODE)


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
