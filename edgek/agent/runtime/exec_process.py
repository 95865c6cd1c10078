"""Run a command in a running container, its streams in FIFOs of our own.

containerd's streaming server cannot half-close stdin over WebSocket; its Tasks service can: the shim reads our FIFO, and once every writer has closed
it (ours, and the shim's own on CloseIO) the command reads an end of file. The command runs as the container's first process does: same user,
environment, capabilities and folder.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shutil
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path

import attrs
import orjson
import trio

from edgek.agent.runtime import messages_containerd as tasks
from edgek.host.message import Values
from edgek.host.rpc import Channel, RpcError

CALL_TIMEOUT_S = 60.0  # a runc exec takes 40 ms; on a crowded board a hundred times that
OPEN_S, OPEN_LONGEST_S = 0.002, 0.5  # between looks whether the shim has opened stdin: mostly it has
CLEANUP_S = 5.0  # for killing and removing the process of a caller who went away
CHUNK_BYTES = 64 * 1024  # what a pipe holds
SIGKILL = 9


@attrs.frozen
class Streams:
    """The caller's end. With ``tty`` everything comes on ``stdout``."""

    tty: bool
    stdin: AsyncIterator[bytes] | None
    stdout: trio.abc.SendStream | None
    stderr: trio.abc.SendStream | None
    resizes: AsyncIterator[tuple[int, int]] | None


@attrs.frozen
class _Fifos:
    stdin: str
    stdout: str
    stderr: str
    readers: tuple[tuple[int, trio.abc.SendStream | None], ...]  # (our end, where it goes; None: nowhere)


async def run(channel: Channel, folder: Path, container_id: str, command: Sequence[str], streams: Streams) -> int:
    """The exit code. Raises RpcError, and BrokenResourceError when the caller's end of stdout or stderr is gone; the command is killed then."""
    spec = await _process_spec(channel, container_id, command, tty=streams.tty)
    exec_id = f"edgek-{secrets.token_hex(8)}"
    process = {"container_id": container_id, "exec_id": exec_id}
    with _fifos(folder / exec_id, streams) as fifos, contextlib.ExitStack() as opened:
        readers = [(opened.enter_context(_Reader(end)), target) for end, target in fifos.readers]
        wanted = {**process, "stdin": fifos.stdin, "stdout": fifos.stdout, "stderr": fifos.stderr, "terminal": streams.tty, "spec": spec}
        await channel.call(tasks.EXEC, wanted, timeout_s=CALL_TIMEOUT_S)
        try:
            await channel.call(tasks.START, process, timeout_s=CALL_TIMEOUT_S)
            with one_error():
                return await _serve(channel, process, fifos, readers, streams)
        finally:
            await _clean_up(channel, process)


async def _serve(
    channel: Channel, process: Values, fifos: _Fifos, readers: Sequence[tuple[_Reader, trio.abc.SendStream | None]], streams: Streams
) -> int:
    async with trio.open_nursery() as inputs:
        if streams.stdin is not None:
            inputs.start_soon(_feed, channel, process, fifos.stdin, streams.stdin)
        if streams.resizes is not None:
            inputs.start_soon(_resize, channel, process, streams.resizes)
        async with trio.open_nursery() as outputs:
            for reader, target in readers:
                outputs.start_soon(_copy, reader.stream, target)
            answer = await channel.call(tasks.WAIT, process, timeout_s=None)
        inputs.cancel_scope.cancel()
    code: int = answer["exit_status"]
    return code


async def _process_spec(channel: Channel, container_id: str, command: Sequence[str], *, tty: bool) -> Values:
    answer = await channel.call(tasks.GET_CONTAINER, {"id": container_id}, timeout_s=CALL_TIMEOUT_S)
    process = orjson.loads(answer["container"]["spec"]["value"])["process"]
    process.update(args=list(command), terminal=tty)
    if tty:
        process["env"] = [*(pair for pair in process.get("env", ()) if not pair.startswith("TERM=")), "TERM=xterm"]
    else:
        process.pop("consoleSize", None)
    return {"type_url": tasks.PROCESS_TYPE, "value": orjson.dumps(process)}


async def _feed(channel: Channel, process: Values, fifo: str, stdin: AsyncIterator[bytes]) -> None:
    """Until the caller half-closes, or the command reads no more."""
    stream = trio.lowlevel.FdStream(await _writer(fifo))
    with contextlib.suppress(trio.BrokenResourceError):
        async with stream:
            async for chunk in stdin:
                await stream.send_all(chunk)
    with contextlib.suppress(RpcError):  # it ended meanwhile
        await channel.call(tasks.CLOSE_IO, {**process, "stdin": True}, timeout_s=CALL_TIMEOUT_S)


async def _writer(fifo: str) -> int:
    """Our end of stdin. The shim opens its own a moment after the start, and says so nowhere; until then there is nobody to write to."""
    pause = OPEN_S
    while True:
        try:
            return os.open(fifo, os.O_WRONLY | os.O_NONBLOCK)
        except OSError as exc:
            if exc.errno != errno.ENXIO:
                raise
        await trio.sleep(pause)
        pause = min(pause * 2, OPEN_LONGEST_S)


async def _resize(channel: Channel, process: Values, resizes: AsyncIterator[tuple[int, int]]) -> None:
    async for columns, rows in resizes:
        with contextlib.suppress(RpcError):
            await channel.call(tasks.RESIZE, {**process, "width": columns, "height": rows}, timeout_s=CALL_TIMEOUT_S)


async def _copy(source: trio.abc.ReceiveStream, target: trio.abc.SendStream | None) -> None:
    while chunk := await source.receive_some(CHUNK_BYTES):
        if target is not None:
            await target.send_all(chunk)


async def _clean_up(channel: Channel, process: Values) -> None:
    with trio.move_on_after(CLEANUP_S, shield=True):
        try:
            await channel.call(tasks.DELETE_PROCESS, process, timeout_s=CLEANUP_S)
            return
        except RpcError:
            pass  # it still runs
        with contextlib.suppress(RpcError):
            await channel.call(tasks.KILL, {**process, "signal": SIGKILL}, timeout_s=CLEANUP_S)
            await channel.call(tasks.WAIT, process, timeout_s=CLEANUP_S)
        with contextlib.suppress(RpcError):
            await channel.call(tasks.DELETE_PROCESS, process, timeout_s=CLEANUP_S)


class _Reader:
    """Our end of an output FIFO: opened before the shim's end, so that nothing is lost, and not read before the command started."""

    def __init__(self, descriptor: int) -> None:
        self.stream = trio.lowlevel.FdStream(descriptor)

    def __enter__(self) -> _Reader:
        return self

    def __exit__(self, *_: object) -> None:
        self.stream.close()


@contextlib.contextmanager
def _fifos(folder: Path, streams: Streams) -> Iterator[_Fifos]:
    folder.mkdir(parents=True, mode=0o700)
    try:
        stdin = _fifo(folder / "stdin") if streams.stdin is not None else ""
        readers, names = [], {"stdout": "", "stderr": ""}
        for name, target in (("stdout", streams.stdout), ("stderr", streams.stderr)):
            # Without a terminal the shim wants both or none, even if nobody listens; with one there is only stdout.
            if name == "stdout" or not streams.tty:
                names[name] = _fifo(folder / name)
                readers.append((os.open(names[name], os.O_RDONLY | os.O_NONBLOCK), target))
        yield _Fifos(stdin, names["stdout"], names["stderr"], tuple(readers))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _fifo(path: Path) -> str:
    os.mkfifo(path, 0o600)
    return str(path)


@contextlib.contextmanager
def one_error() -> Iterator[None]:
    """Of several tasks that ended together, raise what went wrong first instead of a group."""
    try:
        yield
    except BaseExceptionGroup as group:
        first: BaseException = group
        while isinstance(first, BaseExceptionGroup):
            first = next((e for e in first.exceptions if not isinstance(e, trio.Cancelled)), first.exceptions[0])
        raise first from None
