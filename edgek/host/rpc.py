"""gRPC seen from trio: calls that can be cancelled, streams that arrive in order, and errors in one class per decision.

Unary calls ride on gRPC's own threads (``.future()`` and a callback into the loop): measured as quick as a worker thread per call, with fewer
threads, and a cancelled task cancels the call. A server stream costs one thread. The library is loaded with the first channel (20 MB, 0.1 s).
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import attrs
import trio

from edgek.host.message import Message, Values

BIGGEST_MESSAGE_BYTES = 16 << 20  # what CRI servers send at most
RECONNECT_MS = 100  # gRPC's own back-off starts at a second: too long to wait for a restarted containerd
# How long the other side may take to greet us. gRPC's name for it is misleading: its least back-off bounds each attempt to connect, and nothing else.
CONNECT_MS = 20_000
STREAM_BUFFER = 4096  # messages. A reader this far behind is cut off and must look at everything again.

Metadata = Sequence[tuple[str, str]]


class RpcError(Exception):
    """The other side said no. ``code`` is gRPC's name for it: ``NOT_FOUND``, ``UNKNOWN`` ..."""

    def __init__(self, code: str, details: str) -> None:
        super().__init__(f"{details} ({code})")
        self.code = code
        self.details = details


class Unreachable(RpcError):
    """Nobody answers there now."""


class TooSlow(RpcError):
    """The deadline passed."""


@attrs.frozen
class Method:
    """``path`` is ``/package.Service/Name``."""

    path: str
    request: Message
    response: Message


class Channel:
    """A connection to one server. Must be made, used and closed in one trio run."""

    def __init__(self, target: str, metadata: Mapping[str, str] | None = None) -> None:
        """``target`` is ``unix:///run/x.sock`` or ``host:port``; ``metadata`` goes with every call."""
        os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")  # its fork handlers abort children of a process that has channels
        import grpc

        self._grpc = grpc
        self._metadata = tuple((metadata or {}).items())
        self._channel = grpc.insecure_channel(
            target,
            [
                ("grpc.max_receive_message_length", BIGGEST_MESSAGE_BYTES),
                ("grpc.initial_reconnect_backoff_ms", RECONNECT_MS),
                ("grpc.min_reconnect_backoff_ms", CONNECT_MS),
                ("grpc.max_reconnect_backoff_ms", RECONNECT_MS),
                ("grpc.enable_http_proxy", 0),
                ("SingleThreadedUnaryStream", 1),  # one thread fewer for each stream
            ],
        )

    async def call(self, method: Method, values: Mapping[str, Any], *, timeout_s: float | None, metadata: Metadata = ()) -> Values:
        """Ask and wait for the answer. Raises RpcError; cancelling the task cancels the call. ``metadata`` goes along with the channel's own."""
        caller = self._channel.unary_unary(method.path, request_serializer=method.request.encode, response_deserializer=method.response.decode)
        future = caller.future(values, timeout=timeout_s, metadata=(*self._metadata, *metadata))
        await _done(future)
        try:
            answer: Values = future.result()
        except self._grpc.RpcError as error:
            raise self._translated(error) from None
        return answer

    async def wait_until_there(self, method: Method, *, timeout_s: float) -> None:
        """Call a method without arguments as soon as the server answers. Raises RpcError after ``timeout_s``."""
        caller = self._channel.unary_unary(method.path, request_serializer=method.request.encode, response_deserializer=method.response.decode)
        future = caller.future({}, timeout=timeout_s, metadata=self._metadata, wait_for_ready=True)
        await _done(future)
        try:
            future.result()
        except self._grpc.RpcError as error:
            raise self._translated(error) from None

    def stream(self, method: Method, values: Mapping[str, Any]) -> Stream:
        """Messages as the server sends them, from now until ``close``."""
        caller = self._channel.unary_stream(method.path, request_serializer=method.request.encode, response_deserializer=method.response.decode)
        return Stream(caller(values, metadata=self._metadata), self._translated)

    async def exchange(self, method: Method, requests: Iterable[Mapping[str, Any]], *, timeout_s: float, metadata: Metadata = ()) -> list[Values]:
        """Send a stream of requests, taken from the iterable in a thread of gRPC, and gather the stream of answers."""
        caller = self._channel.stream_stream(method.path, request_serializer=method.request.encode, response_deserializer=method.response.decode)
        call = caller(iter(requests), timeout=timeout_s, metadata=(*self._metadata, *metadata))
        answers = []
        stream = Stream(call, self._translated)
        try:
            async for answer in stream:
                answers.append(answer)
        finally:
            stream.close()
        return answers

    def close(self) -> None:
        self._channel.close()

    def _translated(self, error: Any) -> RpcError:
        code, details = error.code(), error.details() or ""
        if code is self._grpc.StatusCode.UNAVAILABLE:
            return Unreachable(code.name, details)
        if code is self._grpc.StatusCode.DEADLINE_EXCEEDED:
            return TooSlow(code.name, details)
        return RpcError(code.name, details)


class Stream:
    """An async iterator of messages. Ends when the server ends it; raises RpcError when it breaks. ``close`` may be called twice."""

    def __init__(self, call: Any, translated: Any) -> None:
        self._call = call
        self._translated = translated
        self._send, self._receive = trio.open_memory_channel[Values](STREAM_BUFFER)
        self._failure: RpcError | None = None
        self._closed = False
        self._token = trio.lowlevel.current_trio_token()
        trio.lowlevel.start_thread_soon(self._pump, lambda _: None, name="grpc stream")

    def __aiter__(self) -> Stream:
        return self

    async def __anext__(self) -> Values:
        try:
            return await self._receive.receive()
        except trio.EndOfChannel:
            if self._failure is not None and not self._closed:
                raise self._failure from None
            raise StopAsyncIteration from None

    def close(self) -> None:
        self._closed = True
        self._call.cancel()

    @property
    def cut_off(self) -> bool:
        """It ended with an error, though what came before may still be read."""
        return self._failure is not None

    def _pump(self) -> None:
        """In a thread of its own, until the call is over."""
        import grpc

        failure = None
        try:
            for message in self._call:
                self._token.run_sync_soon(self._deliver, message)
        except grpc.RpcError as error:
            failure = self._translated(error)
        except trio.RunFinishedError:
            self._call.cancel()
            return
        try:
            self._token.run_sync_soon(self._finish, failure)
        except trio.RunFinishedError:
            return

    def _deliver(self, message: Values) -> None:
        try:
            self._send.send_nowait(message)
        except trio.WouldBlock:
            self._finish(RpcError("RESOURCE_EXHAUSTED", f"more than {STREAM_BUFFER} messages wait to be read"))
            self._call.cancel()
        except trio.ClosedResourceError:
            return  # cut off above; the thread has not noticed yet

    def _finish(self, failure: RpcError | None) -> None:
        self._failure = self._failure or failure
        self._send.close()


async def _done(future: Any) -> None:
    """Wait for a gRPC future."""
    task = trio.lowlevel.current_task()
    token = trio.lowlevel.current_trio_token()
    waiting = True

    def wake() -> None:
        nonlocal waiting
        if waiting:
            waiting = False
            trio.lowlevel.reschedule(task)

    def over(_: Any) -> None:
        try:
            token.run_sync_soon(wake)
        except trio.RunFinishedError:
            return  # the program is ending, nobody waits any more

    def abort(_: Any) -> trio.lowlevel.Abort:
        nonlocal waiting
        waiting = False
        future.cancel()
        return trio.lowlevel.Abort.SUCCEEDED

    future.add_done_callback(over)
    await trio.lowlevel.wait_task_rescheduled(abort)
