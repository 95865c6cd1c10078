from __future__ import annotations

import base64
from pathlib import Path

import orjson
import pytest
import trio.testing

from edgek.agent.kubelet.images import auths_for
from edgek.model import kinds
from edgek.model.objects import Object
from tests.agent.kubelet.scene import node, pod


def a_secret(*hosts: str) -> Object:
    auths = {host: {"username": host, "password": "p"} for host in hosts}
    return {"data": {".dockerconfigjson": base64.b64encode(orjson.dumps({"auths": auths})).decode()}}


@pytest.mark.parametrize(
    ("reference", "hosts", "wanted"),
    [
        ("reg.example/a/b:1", ("reg.example", "other.example"), ["reg.example"]),
        ("reg.example/a/b:1", ("https://reg.example/v2/",), ["https://reg.example/v2/"]),
        ("reg.example/a/b:1", ("reg.example", "reg.example/a"), ["reg.example/a", "reg.example"]),
        ("reg.example/a/b:1", ("reg.example/c",), []),
        ("eu.reg.example/a:1", ("*.reg.example",), ["*.reg.example"]),
        ("busybox", ("https://index.docker.io/v1/",), ["https://index.docker.io/v1/"]),
        ("localhost:5000/a", ("localhost:5000",), ["localhost:5000"]),
        ("localhost:5000/a", ("localhost:5001",), []),
    ],
)
def test_which_credentials_are_for_an_image(reference: str, hosts: tuple[str, ...], wanted: list[str]) -> None:
    assert [auth.username for auth in auths_for(reference, a_secret(*hosts))] == wanted


def test_a_secret_that_is_no_configuration_gives_none() -> None:
    assert auths_for("a", {"data": {".dockerconfigjson": "!!"}}) == []
    assert auths_for("a", {"data": {}}) == []


@pytest.mark.parametrize("content", ["[1]", '{"auths": 5}', '{"auths": {"a.example": "word"}}', '{"auths": null}'])
def test_one_that_holds_something_else_gives_none_either(content: str) -> None:
    assert auths_for("a.example/b", {"data": {".dockerconfigjson": base64.b64encode(content.encode()).decode()}}) == []


def with_image(reference: str, **more: object) -> Object:
    return pod(containers=[{"name": "main", "image": reference, **more}])


async def test_an_image_with_a_bad_name_is_never_pulled(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    async with node(tmp_path) as here:
        await here.create(with_image("Not:a:name"))
        assert here.shown()["state"]["waiting"]["reason"] == "InvalidImageName"
        assert not [call for call in here.runtime.calls if call[0] == "pull_image"]


async def test_never_means_never(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    async with node(tmp_path) as here:
        await here.create(with_image("example.org/none:1", imagePullPolicy="Never"))
        waiting = here.shown()["state"]["waiting"]
        assert waiting["reason"] == "ErrImageNeverPull"
        assert waiting["message"] == 'Container image "example.org/none:1" is not present with pull policy of Never'


async def test_a_present_image_is_not_pulled_unless_always(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    async with node(tmp_path) as here:
        here.runtime.registry.add("example.org/box:1")
        await here.create(with_image("example.org/box:1"))
        assert not [call for call in here.runtime.calls if call[0] == "pull_image"]
        await here.create(pod("again", containers=[{"name": "main", "image": "example.org/box:1", "imagePullPolicy": "Always"}]))
        assert [call for call in here.runtime.calls if call[0] == "pull_image"] == [("pull_image", "example.org/box:1")]
        assert ("Pulling", 'Pulling image "example.org/box:1"') in here.events()


async def test_two_pods_pull_an_image_once(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    async with node(tmp_path) as here:
        here.runtime.registry.add("example.org/new:1")
        here.runtime.delays_s["pull_image"] = 5
        for name in ("a", "b"):
            await here.client.create(kinds.POD, {**with_image("example.org/new:1"), "metadata": {"name": name, "namespace": "default"}})
        await here.settle(10)
        assert len([call for call in here.runtime.calls if call[0] == "pull_image"]) == 1
        assert (here.phase("a"), here.phase("b")) == ("Running", "Running")


async def test_a_missing_pull_secret_is_said_and_the_pull_is_tried(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    async with node(tmp_path) as here:
        here.runtime.registry.add("example.org/new:1")
        await here.create(pod(containers=[{"name": "main", "image": "example.org/new:1"}], imagePullSecrets=[{"name": "none"}]))
        assert here.phase() == "Running"
        assert any(reason == "FailedToRetrieveImagePullSecret" for reason, _ in here.events())


async def test_while_the_server_is_silent_a_crashed_container_starts_from_the_image_that_is_here(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    async with node(tmp_path) as here:
        silent = True
        here.kubelet.references.silent = lambda: silent
        await here.create(with_image("example.org/box:1", imagePullPolicy="Always", command=["forever"]))
        assert here.phase() == "Running"
        assert not [call for call in here.runtime.calls if call[0] == "pull_image"]
        silent = False
        here.runtime.end((await here.running()).id, 1)
        await here.settle(30)
        assert [call for call in here.runtime.calls if call[0] == "pull_image"], "and is asked for anew when somebody can be asked"


async def test_events_of_an_init_container_name_it_where_the_spec_lists_it(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    async with node(tmp_path) as here:
        first = {"name": "first", "image": "example.org/box:1", "command": ["echo", "done"]}
        await here.create(pod(initContainers=[first]))
        await here.settle(10)
        said = {(event["reason"], event["involvedObject"].get("fieldPath")) for event in here.api.all(kinds.EVENT)}
        assert {("Pulled", "spec.initContainers{first}"), ("Started", "spec.initContainers{first}"), ("Pulled", "spec.containers{main}")} <= said


async def test_locks_go_with_their_last_user(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    async with node(tmp_path) as here:
        for number in range(3):
            await here.create(pod(f"p{number}", containers=[{"name": "main", "image": "example.org/none:1", "imagePullPolicy": "Never"}]))
        assert here.kubelet.images._locks == {}
