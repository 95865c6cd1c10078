import orjson
import pytest
import trio

from edgek.client.node import ExecOptions, Terminal
from edgek.model import errors
from edgek.server.api.streams import spdy
from tests.server.api.streams.scene import POD, Scene, SpdyTalk, serving

EXEC = f"{POD}/exec?container=a&command=sh&command=-c"
SUCCESS = {"metadata": {}, "status": "Success"}


async def cat(options: ExecOptions, terminal: Terminal) -> int:
    """Says what it is told, and at the end of input how much that was."""
    size = 0
    async for chunk in terminal.stdin:
        await terminal.write(1, chunk)
        size += len(chunk)
    await terminal.write(2, b"%d bytes" % size)
    return 0


async def seven(options: ExecOptions, terminal: Terminal) -> int:
    return 7


async def sized(options: ExecOptions, terminal: Terminal) -> int:
    async for columns, rows in terminal.resizes:
        await terminal.write(1, b"%dx%d" % (columns, rows))
        return 0
    return 1


async def missing(options: ExecOptions, terminal: Terminal) -> int:
    raise errors.NotFound('container "a" not found in pod "p"')


async def for_ever(options: ExecOptions, terminal: Terminal) -> int:
    await terminal.write(1, b"here")
    await trio.sleep_forever()
    raise AssertionError


async def test_a_command_talks_over_a_websocket_and_reads_the_end_of_input() -> None:
    async with serving() as scene:
        scene.door.played = cat
        talk = await scene.websocket(f"{EXEC}&stdin=true&stdout=true&stderr=true", "v5.channel.k8s.io")
        await talk.send(b"\x00hello")
        await talk.send(b"\xff\x00")
        messages = await talk.all()
    assert messages[:2] == [b"\x01hello", b"\x025 bytes"]
    assert orjson.loads(messages[2][1:]) == SUCCESS
    assert scene.door.asked == [("a", ExecOptions(("sh", "-c"), stdin=True, stdout=True, stderr=True))]


async def test_the_exit_code_is_the_cause_of_the_status() -> None:
    async with serving() as scene:
        scene.door.played = seven
        [message] = await (await scene.websocket(f"{EXEC}&stdout=true", "v4.channel.k8s.io")).all()
    status = orjson.loads(message[1:])
    assert message[0:1] == b"\x03"
    assert (status["status"], status["reason"]) == ("Failure", "NonZeroExitCode")
    assert status["details"]["causes"] == [{"reason": "ExitCode", "message": "7"}]


@pytest.mark.parametrize("protocol", ["", "channel.k8s.io", "v2.channel.k8s.io"])
async def test_before_v4_a_failure_is_a_text_and_success_is_silence(protocol: str) -> None:
    async with serving() as scene:
        assert await (await scene.websocket(f"{EXEC}&stdout=true", protocol)).all() == []
        scene.door.played = missing
        assert await (await scene.websocket(f"{EXEC}&stdout=true", protocol)).all() == [b'\x03container "a" not found in pod "p"']


async def test_base64_says_the_same_in_text() -> None:
    async with serving() as scene:
        scene.door.played = sized
        talk = await scene.websocket(f"{EXEC}&stdout=true&tty=true", "v4.base64.channel.k8s.io")
        await talk.send("4eyJXaWR0aCI6ODAsIkhlaWdodCI6MjR9")
        messages = await talk.all()
    assert messages[0] == "1ODB4MjQ="


async def test_sizes_that_make_no_sense_are_passed_over() -> None:
    async with serving() as scene:
        scene.door.played = sized
        talk = await scene.websocket(f"{EXEC}&stdout=true&tty=true", "v4.channel.k8s.io")
        for size in (b"", b"[]", b'{"Width":0,"Height":0}', b'{"Width":132,"Height":43}'):
            await talk.send(b"\x04" + size)
        assert (await talk.all())[0] == b"\x01132x43"


async def test_whoever_hangs_up_ends_the_command() -> None:
    async with serving() as scene:
        scene.door.played = for_ever
        talk = await scene.websocket(f"{EXEC}&stdout=true", "v5.channel.k8s.io")
        while await talk.message() != b"\x01here":
            pass
        await talk.stream.aclose()
        with trio.fail_after(20):
            await scene.door.over.wait()


async def test_a_megabyte_passes_both_ways_unchanged() -> None:
    async with serving() as scene:
        scene.door.played = cat
        talk = await scene.websocket(f"{EXEC}&stdin=true&stdout=true&stderr=true", "v5.channel.k8s.io")
        sent = bytes(range(256)) * 4096
        received = b""

        async def say() -> None:
            for at in range(0, len(sent), 32768):
                await talk.send(b"\x00" + sent[at : at + 32768])
            await talk.send(b"\xff\x00")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(say)
            while (message := await talk.message()) is not None:
                received += message[1:] if message[:1] == b"\x01" else b""  # type: ignore[operator]  # binary messages are bytes
    assert received == sent


@pytest.mark.parametrize(
    ("path", "headers", "code", "message"),
    [
        pytest.param(f"{EXEC}&stdout=true", {}, 400, "Upgrade request required", id="no upgrade"),
        pytest.param(f"{POD}/exec?container=a&stdout=true", {}, 400, "you must specify at least 1 command for the container", id="no command"),
        pytest.param(EXEC, {}, 400, "you must specify at least 1 of stdin, stdout, stderr", id="no streams"),
        pytest.param(
            f"{POD}/exec?stdout=true&command=x", {}, 400, "a container name must be specified for pod p, choose one of: [a b]", id="no container"
        ),
        pytest.param(
            f"{EXEC}&stdout=true",
            {"connection": "Upgrade", "upgrade": "SPDY/3.1", "x-stream-protocol-version": "v9"},
            403,
            "unable to upgrade: unable to negotiate protocol: client supports [v9], server accepts [v4.channel.k8s.io",
            id="an unknown protocol",
        ),
    ],
)
async def test_what_goes_wrong_before_the_upgrade_is_a_status(path: str, headers: dict[str, str], code: int, message: str) -> None:
    async with serving() as scene:
        status, _, body = await scene.get(path, "POST", **headers)
    assert status == code
    assert orjson.loads(body)["message"].startswith(message)


async def opened(scene: Scene, query: str, *kinds: str, protocol: str = "v4.channel.k8s.io") -> tuple[SpdyTalk, dict[str, int]]:
    talk = await scene.spdy(f"{EXEC}{query}", "v5.channel.k8s.io", protocol)
    assert f"x-stream-protocol-version: {protocol}" in talk.start
    return talk, {kind: await talk.open(1 + 2 * index, streamtype=kind) for index, kind in enumerate(kinds)}


async def test_a_command_talks_over_spdy_and_reads_the_end_of_input() -> None:
    async with serving() as scene:
        scene.door.played = cat
        talk, streams = await opened(scene, "&stdin=true&stdout=true&stderr=true", "error", "stdin", "stdout", "stderr")
        await talk.send(spdy.Data(streams["stdin"], b"hello"), spdy.Data(streams["stdin"], b"", fin=True), spdy.Ping(1))
        await talk.until_ended(*streams.values())
    assert talk.heard[streams["stdout"]] == b"hello"
    assert talk.heard[streams["stderr"]] == b"5 bytes"
    assert orjson.loads(talk.heard[streams["error"]]) == SUCCESS


async def test_sizes_of_the_window_come_over_spdy_in_pieces() -> None:
    async with serving() as scene:
        scene.door.played = sized
        talk, streams = await opened(scene, "&stdout=true&tty=true", "error", "stdout", "resize")
        for piece in (b'{"Width":1', b'00,"Height"', b":40}\n"):
            await talk.send(spdy.Data(streams["resize"], piece))
        await talk.until_ended(streams["stdout"], streams["error"])
    assert talk.heard[streams["stdout"]] == b"100x40"


async def test_whoever_hangs_up_over_spdy_ends_the_command() -> None:
    async with serving() as scene:
        scene.door.played = for_ever
        talk, streams = await opened(scene, "&stdout=true", "error", "stdout")
        while streams["stdout"] not in talk.heard:
            frame = await talk.frame()
            if isinstance(frame, spdy.Data):
                talk.heard[frame.stream] = frame.payload
        await talk.stream.aclose()
        with trio.fail_after(20):
            await scene.door.over.wait()


async def test_a_client_that_speaks_nonsense_is_left() -> None:
    async with serving() as scene:
        talk, _ = await opened(scene, "&stdout=true", "error")
        await talk.stream.send_all(b"\x80\x09nonsense")
        while await talk.frame() is not None:
            pass
        assert scene.door.asked == []
