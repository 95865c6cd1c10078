"""The border of requests, and the pages beside the API."""

import orjson
import pytest

from edgek.client.transport import Request, Response
from edgek.host import log
from edgek.server.api.http import Peer
from tests.server.api.running import NOBODY, TOKEN, Running, running

HERE = Peer("127.0.0.1")


async def get(server: Running, path: str, **headers: str) -> Response:
    answer = await server.api.handle(Request("GET", path, (), headers), HERE)
    assert isinstance(answer, Response)
    return answer


async def test_a_token_opens_the_door_and_none_does_not() -> None:
    server = await running()
    assert (await get(server, "/api/v1/namespaces/default", authorization=f"Bearer {TOKEN}")).status == 200
    for headers in ({}, {"authorization": "Bearer wrong"}):
        answer = await get(server, "/api/v1/namespaces/default", **headers)
        assert (answer.status, orjson.loads(answer.body)["message"]) == (401, "Unauthorized")


async def test_a_defect_is_a_500_for_the_client_and_a_line_for_the_operator(capsys: pytest.CaptureFixture[str]) -> None:
    server = await running()

    def broken(key: object) -> None:
        raise KeyError("oops")

    server.backend.get = broken  # type: ignore[assignment, method-assign]
    answer = await server.transport().request(Request("GET", "/api/v1/namespaces/default/configmaps/x"))
    assert (answer.status, orjson.loads(answer.body)["reason"]) == (500, "InternalError")
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert "request failed method=GET path=/api/v1/namespaces/default/configmaps/x" in lines[0]
    assert log.LEVELS[3] in lines[0]


async def test_a_defect_in_a_stream_ends_that_stream_alone(capsys: pytest.CaptureFixture[str]) -> None:
    server = await running()

    def broken(*args: object) -> None:
        raise KeyError("oops")

    server.backend.watch = broken  # type: ignore[assignment, method-assign]
    async with server.transport().stream(Request("GET", "/api/v1/pods", (("watch", "1"),))) as answer:
        assert (answer.status, await answer.read()) == (200, b"")
    assert "request failed method=GET path=/api/v1/pods" in capsys.readouterr().err


async def test_each_answer_has_an_audit_id_of_its_own() -> None:
    server = await running()
    seen = {(await server.transport().request(Request("GET", "/version"))).headers["audit-id"] for _ in range(3)}
    assert len(seen) == 3
    assert all(len(each) == 36 for each in seen)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/api/v1/namespaces/default/configmaps/x"),
        ("PUT", "/api/v1/namespaces/default/configmaps"),
        ("POST", "/api/v1/configmaps"),
        ("HEAD", "/api/v1/namespaces/default/configmaps/x"),
        ("TRACE", "/api/v1/namespaces/default/configmaps/x"),
        ("GET", "/api/v1/namespaces/default/pods/x/binding"),
        ("POST", "/version"),
    ],
)
async def test_a_method_that_makes_no_sense_there_is_not_allowed(method: str, path: str) -> None:
    server = await running()
    assert (await server.transport().request(Request(method, path))).status == 405


async def test_versions_are_plain_numbers() -> None:
    server = await running()
    found = orjson.loads((await server.transport().request(Request("GET", "/version"))).body)
    assert (found["major"], found["minor"]) == ("1", "36")
    assert found["gitVersion"].startswith("v1.36.4+edgek")


async def test_health_can_be_asked_as_a_whole_by_part_and_in_words() -> None:
    server = await running()

    async def page(path: str, *query: tuple[str, str]) -> tuple[int, str]:
        answer = await server.transport().request(Request("GET", path, query))
        return answer.status, answer.body.decode()

    assert await page("/healthz") == (200, "ok")
    assert await page("/livez/ping") == (200, "ok")
    assert (await page("/readyz/nope"))[0] == 404
    status, text = await page("/readyz", ("verbose", ""))
    assert (status, text.splitlines()[-1]) == (200, "readyz check passed")
    assert "[+]ping ok" in text


async def test_requests_are_counted() -> None:
    server = await running()
    await server.transport(NOBODY).request(Request("GET", "/api/v1/pods"))
    page = await server.transport().request(Request("GET", "/metrics"))
    assert b'apiserver_request_total{code="403",verb="GET"} 1' in page.body


async def test_the_root_lists_what_there_is() -> None:
    server = await running()
    paths = orjson.loads((await server.transport().request(Request("GET", "/"))).body)["paths"]
    assert {"/api/v1", "/apis/apps/v1", "/healthz", "/openapi/v2"} <= set(paths)


async def test_a_component_that_fails_its_check_fails_health() -> None:
    from edgek.server.api.health import Health

    health = Health({"ping": lambda: ""}, {"cache": lambda: "still loading"})
    answer = health.respond(Request("GET", "/readyz"))
    assert answer is not None
    assert (answer.status, b"[-]cache failed" in answer.body) == (500, True)
    live = health.respond(Request("GET", "/livez"))
    assert live is not None
    assert live.status == 200
