import orjson
import pytest
import trio

from edgek.client.node import LogOptions
from edgek.model import errors, kinds
from tests.server.api.streams.scene import POD, create_pod, serving


async def test_a_log_is_plain_text() -> None:
    async with serving() as scene:
        scene.door.log = [b"one\n", b"two\n"]
        status, headers, body = await scene.get(f"{POD}/log?container=a&tailLines=3&timestamps=true&previous=true&stream=All")
    assert (status, headers["content-type"], body) == (200, "text/plain", b"one\ntwo\n")
    assert scene.door.asked == [("a", LogOptions(tail_lines=3, timestamps=True, previous=True))]


async def test_an_empty_log_is_an_empty_answer() -> None:
    async with serving() as scene:
        assert (await scene.get(f"{POD}/log?container=a"))[::2] == (200, b"")


@pytest.mark.parametrize(
    ("query", "code", "message"),
    [
        ("", 400, "a container name must be specified for pod p, choose one of: [a b] or one of the init containers: [i]"),
        ("container=c", 400, "container c is not valid for pod p"),
        ("container=a&tailLines=-1", 422, 'PodLogOptions "p" is invalid: tailLines: Invalid value: -1: must be greater than or equal to 0'),
        ("container=a&limitBytes=0", 422, 'PodLogOptions "p" is invalid: limitBytes: Invalid value: 0: must be greater than 0'),
        ("container=a&sinceSeconds=0", 422, 'PodLogOptions "p" is invalid: sinceSeconds: Invalid value: 0: must be greater than 0'),
        ("container=a&tailLines=x", 400, 'strconv.ParseInt: parsing "x": invalid syntax'),
        (
            "container=a&sinceSeconds=1&sinceTime=2026-01-01T00:00:00Z",
            422,
            'PodLogOptions "p" is invalid: : Forbidden: at most one of `sinceTime` or `sinceSeconds` may be specified',
        ),
        (
            "container=a&stream=Stdout&tailLines=1",
            422,
            'PodLogOptions "p" is invalid: : Forbidden: `tailLines` and specific `stream` are mutually exclusive for now',
        ),
    ],
)
async def test_what_cannot_be_asked_is_refused_in_upstreams_words(query: str, code: int, message: str) -> None:
    async with serving() as scene:
        status, _, body = await scene.get(f"{POD}/log?{query}")
    assert (status, orjson.loads(body)["message"]) == (code, message)
    assert scene.door.asked == []


async def test_what_the_node_refuses_is_a_status() -> None:
    async with serving() as scene:
        scene.door.log_error = errors.BadRequest('container "a" in pod "p" is waiting to start: ContainerCreating')
        for query in ("", "&follow=true"):
            status, _, body = await scene.get(f"{POD}/log?container=a{query}")
            assert (status, orjson.loads(body)["reason"]) == (400, "BadRequest")


async def test_a_pod_without_a_node_has_no_log_yet_and_one_whose_node_is_away_none_now() -> None:
    async with serving() as scene:
        await create_pod(scene.client, "pending", ["a"], node="")
        await create_pod(scene.client, "away", ["a"], node="elsewhere")
        assert (await scene.get("/api/v1/namespaces/default/pods/pending/log"))[::2] == (200, b"")
        assert (await scene.get("/api/v1/namespaces/default/pods/away/log"))[0] == 503
        assert (await scene.get("/api/v1/namespaces/default/pods/none/log"))[0] == 404
        await scene.client.get(kinds.POD, "pending", "default")


async def test_a_followed_log_comes_as_it_grows_and_is_left_when_its_reader_hangs_up() -> None:
    async with serving() as scene:
        scene.door.log = [b"one\n"]
        stream = await scene.connect()
        async with stream:
            await stream.send_all(f"GET {POD}/log?container=a&follow=true HTTP/1.1\r\nauthorization: Bearer secret-of-admin\r\n\r\n".encode())
            received = b""
            with trio.fail_after(20):
                while b"one\n" not in received:
                    received += await stream.receive_some()
            assert not scene.door.over.is_set()
        with trio.fail_after(20):
            await scene.door.over.wait()


async def test_a_log_over_a_websocket_is_binary_or_base64() -> None:
    async with serving() as scene:
        scene.door.log = [b"one\n", b"two\n"]
        plain = await (await scene.websocket(f"{POD}/log?container=a", "binary.k8s.io")).all()
        text = await (await scene.websocket(f"{POD}/log?container=a", "base64.binary.k8s.io")).all()
    assert plain == [b"one\n", b"two\n"]
    assert text == ["b25lCg==", "dHdvCg=="]
