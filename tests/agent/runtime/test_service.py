"""The runtime as the agent starts it, with the operator's images and registries."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Iterator
from functools import partial
from pathlib import Path

import attrs
import pytest
import trio

from edgek import config as configuration
from edgek.agent.runtime import containerd, service
from edgek.agent.runtime.cri import CriRuntime
from edgek.agent.runtime.runtime import ImageNotFound, RegistryAuth, RuntimeFailure
from edgek.config import Config
from tests.fakes import images
from tests.fakes.registry import open_registry

pytestmark = [pytest.mark.root, pytest.mark.node]


@pytest.fixture(scope="module")
def config() -> Iterator[Config]:
    with tempfile.TemporaryDirectory(prefix="edgek-rt-") as folder:
        arguments = {"data_dir": f"{folder}/data", "run_dir": f"{folder}/run", "private_registry": f"{folder}/registries.yaml"}
        made = configuration.load(arguments, {}, None, "node-1")
        made.images_dir.mkdir(parents=True)
        (made.images_dir / "laid.tar").write_bytes(images.docker_archive("example.org/laid:1", {"x": b"1"}))
        yield made
        trio.run(containerd.stop, service.child_of(made, made.run_dir / "cni.sock"))


@pytest.fixture
async def runtime(config: Config) -> AsyncIterator[CriRuntime]:
    with trio.fail_after(120):
        async with trio.open_nursery() as nursery:
            yield await nursery.start(partial(service.run, config, config.run_dir / "cni.sock"))
            nursery.cancel_scope.cancel()


def image(content: str) -> bytes:
    return images.docker_archive("unused:1", {"content": content.encode()})


async def test_the_operators_images_are_there_when_it_is_ready(runtime: CriRuntime) -> None:
    assert await runtime.image("example.org/laid:1") is not None


async def test_an_outside_containerd_is_used_and_left_alone(runtime: CriRuntime, config: Config) -> None:
    outside = attrs.evolve(config, container_runtime_endpoint=f"unix://{config.runtime_socket}", run_dir=config.run_dir / "other")
    async with trio.open_nursery() as nursery:
        second = await nursery.start(partial(service.run, outside, Path("/none")))
        assert (await second.version())[0] == "containerd"
        assert not service.child_of(outside, Path("/none")).pid_file.exists()
        nursery.cancel_scope.cancel()


async def test_an_outside_containerd_that_does_not_answer_is_said(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "OUTSIDE_READY_S", 0.1)
    outside = attrs.evolve(config, container_runtime_endpoint="unix:///no/such.sock")
    with pytest.RaisesGroup(containerd.CannotRun, flatten_subgroups=True):
        async with trio.open_nursery() as nursery:
            await nursery.start(partial(service.run, outside, Path("/none")))


async def test_an_image_is_pulled_from_a_registry_on_loopback(runtime: CriRuntime) -> None:
    with open_registry() as registry:
        registry.add("team/app:1", image("plain"))
        pulled = await runtime.pull_image(f"{registry.address}/team/app:1", ())
        assert pulled.tags == (f"{registry.address}/team/app:1",)
        assert pulled.digests[0].startswith(f"{registry.address}/team/app@sha256:")
        with pytest.raises(ImageNotFound):
            await runtime.pull_image(f"{registry.address}/team/none:1", ())


async def test_a_password_is_asked_for_and_the_first_that_fits_serves(runtime: CriRuntime) -> None:
    with open_registry(password="open sesame") as registry:
        registry.add("team/app:1", image("private"))
        with pytest.raises(RuntimeFailure, match=r"401|denied|authorization") as caught:
            await runtime.pull_image(f"{registry.address}/team/app:1", ())
        assert caught.value.reason == "ErrImagePull"
        wrong, right = RegistryAuth("robot", "guess"), RegistryAuth("robot", "open sesame")
        assert await runtime.pull_image(f"{registry.address}/team/app:1", (wrong, right))


async def test_a_mirror_with_a_prefix_and_a_password_stands_in_for_a_registry_without_a_restart(runtime: CriRuntime, config: Config) -> None:
    with open_registry(password="s3cret") as mirror:
        mirror.add("cached/team/app:2", image("mirrored"))
        config.private_registry.write_text(
            f'mirrors: {{registry.example: {{endpoint: ["http://{mirror.address}"], rewrite: {{"^(.*)$": "cached/$1"}}}}}}\n'
            f'configs: {{"{mirror.address}": {{auth: {{username: robot, password: s3cret}}}}}}\n'
        )
        pulled = await runtime.pull_image("registry.example/team/app:2", ())
    assert pulled.tags == ("registry.example/team/app:2",)


async def test_a_name_that_is_no_name_has_the_kubelets_word(runtime: CriRuntime) -> None:
    with pytest.raises(RuntimeFailure) as caught:
        await runtime.pull_image("Not A Name", ())
    assert caught.value.reason == "InvalidImageName"
