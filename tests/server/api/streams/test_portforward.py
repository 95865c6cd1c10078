from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import orjson
import pytest
import trio

from edgek.server.api.streams import spdy
from tests.server.api.streams.scene import POD, Scene, SpdyTalk, serving

FORWARD = f"{POD}/portforward"


@asynccontextmanager
async def shouting(scene: Scene) -> AsyncIterator[trio.Event]:
    """What listens in the pod: it says everything louder, and goodbye at the end. The event is set when a connection is over."""
    over = trio.Event()

    async def shout(stream: trio.SocketStream) -> None:
        async with stream:
            try:
                async for chunk in stream:
                    await stream.send_all(chunk.upper())
                await stream.send_all(b"BYE")
            except trio.BrokenResourceError:
                pass
        over.set()

    async with trio.open_nursery() as nursery:
        [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
        scene.door.port = listener.socket.getsockname()[1]
        nursery.start_soon(trio.serve_listeners, shout, [listener])
        yield over
        nursery.cancel_scope.cancel()


async def pair(talk: SpdyTalk, number: int, port: int | str, request: int) -> tuple[int, int]:
    headers = {"port": str(port), "requestid": str(request)}
    error = await talk.open(number, streamtype="error", **headers)
    await talk.send(spdy.Data(error, b"", fin=True))  # clients only read it
    return error, await talk.open(number + 2, streamtype="data", **headers)


async def test_connections_share_a_session_and_end_one_by_one() -> None:
    async with serving() as scene, shouting(scene):
        talk = await scene.spdy(FORWARD, "portforward.k8s.io")
        error, data = await pair(talk, 1, 80, 0)
        error2, data2 = await pair(talk, 5, 80, 1)
        await talk.send(spdy.Data(data, b"one"), spdy.Data(data2, b"two"), spdy.Data(data, b"", fin=True))
        await talk.until_ended(data, error)
        assert (talk.heard[data], talk.heard[error]) == (b"ONEBYE", b"")
        await talk.send(spdy.Data(data2, b"!", fin=True))
        await talk.until_ended(data2, error2)
        assert talk.heard[data2] == b"TWO!BYE"
        assert scene.door.asked == [80, 80]


async def test_a_port_where_nobody_listens_is_told_on_the_error_stream_and_others_go_on() -> None:
    async with serving() as scene, shouting(scene):
        talk = await scene.spdy(FORWARD, "portforward.k8s.io")
        error, data = await pair(talk, 1, 1, 0)
        await talk.until_ended(error, data)
        assert talk.heard[error] == b"error forwarding port 1: connection refused"
        error, data = await pair(talk, 5, "http", 1)
        await talk.until_ended(error, data)
        assert talk.heard[error] == b'error forwarding port http: unable to parse "http" as a port'
        error, data = await pair(talk, 9, 80, 2)
        await talk.send(spdy.Data(data, b"still here", fin=True))
        await talk.until_ended(data, error)
        assert talk.heard[data] == b"STILL HEREBYE"


async def test_a_reset_stream_ends_its_connection_into_the_pod() -> None:
    async with serving() as scene, shouting(scene) as over:
        talk = await scene.spdy(FORWARD, "portforward.k8s.io")
        _, data = await pair(talk, 1, 80, 0)
        await talk.send(spdy.Data(data, b"x"))
        while data not in talk.heard:
            frame = await talk.frame()
            if isinstance(frame, spdy.Data) and frame.payload:
                talk.heard[frame.stream] = frame.payload
        await talk.send(spdy.Reset(data, spdy.CANCEL))
        with trio.fail_after(20):
            await over.wait()


async def test_a_client_that_hangs_up_ends_all_connections_into_the_pod() -> None:
    async with serving() as scene, shouting(scene) as over:
        talk = await scene.spdy(FORWARD, "portforward.k8s.io")
        _, data = await pair(talk, 1, 80, 0)
        await talk.send(spdy.Data(data, b"x"))
        while not isinstance(frame := await talk.frame(), spdy.Data) or not frame.payload:
            pass
        await talk.stream.aclose()
        with trio.fail_after(20):
            await over.wait()


async def test_streams_without_a_number_are_paired_by_their_order() -> None:
    async with serving() as scene, shouting(scene):
        talk = await scene.spdy(FORWARD, "portforward.k8s.io")
        error = await talk.open(1, streamtype="error", port="80")
        data = await talk.open(3, streamtype="data", port="80")
        await talk.send(spdy.Data(data, b"old", fin=True))
        await talk.until_ended(data, error)
        assert talk.heard[data] == b"OLDBYE"


async def test_spdy_is_spoken_inside_of_a_websocket() -> None:
    async with serving() as scene, shouting(scene):
        talk = await scene.websocket(FORWARD, "SPDY/3.1+portforward.k8s.io")
        encoder, decoder = spdy.Encoder(), spdy.Decoder()
        frames = [
            spdy.SynStream(1, {"streamtype": "error", "port": "80", "requestid": "0"}, fin=True),
            spdy.SynStream(3, {"streamtype": "data", "port": "80", "requestid": "0"}),
            spdy.Data(3, b"hello", fin=True),
        ]
        whole = b"".join(encoder.encode(frame) for frame in frames)
        for at in range(0, len(whole), 7):  # messages and frames are cut differently
            await talk.send(whole[at : at + 7])
        heard, ended = b"", False
        while not ended:
            message = await talk.message()
            assert isinstance(message, bytes)
            for frame in decoder.feed(message):
                if isinstance(frame, spdy.Data) and frame.stream == 3:
                    heard, ended = heard + frame.payload, frame.fin
    assert heard == b"HELLOBYE"


async def test_each_port_has_a_pair_of_channels_that_begins_with_the_port() -> None:
    async with serving() as scene, shouting(scene):
        talk = await scene.websocket(f"{FORWARD}?ports=80,1", "v4.channel.k8s.io")
        await talk.send(b"\x00hello")
        messages = []
        while b"\x00HELLO" not in messages or not any(message.startswith(b"\x03error") for message in messages):
            message = await talk.message()
            assert isinstance(message, bytes)
            messages.append(message)
    assert {b"\x00P\x00", b"\x01P\x00", b"\x02\x01\x00", b"\x03\x01\x00"} <= set(messages)
    assert b"\x03error forwarding port 1: connection refused" in messages


async def test_a_websocket_ends_when_all_its_connections_did() -> None:
    async with serving() as scene:
        talk = await scene.websocket(f"{FORWARD}?ports=1", "v4.channel.k8s.io")
        assert (await talk.all())[-1] == b"\x01error forwarding port 1: connection refused"


@pytest.mark.parametrize(
    ("ports", "message"),
    [
        ("", 'query parameter "ports" is required'),
        ("?ports=x", 'unable to parse "x" as a port'),
        ("?ports=0", 'port "0" must be > 0 and < 65536'),
        (f"?ports={','.join(['80'] * 101)}", "at most 100 ports at once"),
    ],
    ids=["none", "no number", "out of range", "too many"],
)
async def test_ports_that_make_no_sense_are_refused(ports: str, message: str) -> None:
    key = {"upgrade": "websocket", "connection": "Upgrade", "sec-websocket-version": "13", "sec-websocket-key": "AAAAAAAAAAAAAAAAAAAAAA=="}
    async with serving() as scene:
        status, _, body = await scene.get(f"{FORWARD}{ports}", **key, **{"sec-websocket-protocol": "v4.channel.k8s.io"})
    assert (status, orjson.loads(body)["message"]) == (400, message)
