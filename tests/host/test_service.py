import pytest
import trio

from edgek.host import service
from edgek.host.service import Service


class Part:
    """A service that writes down when it starts and stops, and fails when told to."""

    def __init__(self, name: str, story: list[str]) -> None:
        self.name = name
        self.story = story
        self.fail = trio.Event()

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        self.story.append(f"{self.name} starts")
        try:
            task_status.started()
            await self.fail.wait()
            raise OSError(self.name)
        finally:
            self.story.append(f"{self.name} stops")

    @property
    def service(self) -> Service:
        return Service(self.name, self.run)


async def test_services_start_in_order_and_stop_in_the_opposite_one(autojump_clock):
    story: list[str] = []
    parts = [Part(name, story) for name in ("store", "api", "kubelet")]
    async with trio.open_nursery() as nursery:
        await nursery.start(service.run, [part.service for part in parts])
        nursery.cancel_scope.cancel()
    assert story == ["store starts", "api starts", "kubelet starts", "kubelet stops", "api stops", "store stops"]


@pytest.mark.parametrize("which", [0, 1, 2])
async def test_a_service_that_fails_takes_the_others_along_and_its_error_is_raised(which, autojump_clock):
    story: list[str] = []
    parts = [Part(name, story) for name in ("store", "api", "kubelet")]
    with pytest.RaisesGroup(OSError, flatten_subgroups=True):
        async with trio.open_nursery() as nursery:
            await nursery.start(service.run, [part.service for part in parts])
            parts[which].fail.set()
    assert {line for line in story if line.endswith("stops")} == {"store stops", "api stops", "kubelet stops"}


async def test_a_service_that_cannot_start_ends_those_before_it(autojump_clock):
    story: list[str] = []

    async def broken(*, task_status: trio.TaskStatus[None]) -> None:
        raise OSError("port taken")

    store = Part("store", story)
    with pytest.raises(OSError, match="port taken"):
        await service.run([store.service, Service("api", broken)])
    assert story == ["store starts", "store stops"]


async def test_the_error_of_the_last_of_many_is_not_buried_in_groups(autojump_clock):
    async def broken(*, task_status: trio.TaskStatus[None]) -> None:
        raise OSError("port taken") from ValueError("the reason")

    parts = [Part(str(number), []).service for number in range(12)]
    with pytest.raises(OSError, match="port taken") as caught:
        await service.run([*parts, Service("last", broken)])
    assert isinstance(caught.value.__cause__, ValueError)
    assert caught.value.__context__ is None


async def test_a_stop_while_a_service_starts_does_not_wait_for_ever(autojump_clock):
    story: list[str] = []

    async def slow(*, task_status: trio.TaskStatus[None]) -> None:
        with trio.CancelScope(shield=True):
            await trio.sleep(5)  # as long as a thread or a program takes that cannot be cut short
        task_status.started()
        await trio.sleep_forever()

    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(service.run, [Part("store", story).service, Service("slow", slow)])
            await trio.sleep(1)
            nursery.cancel_scope.cancel()
    assert story == ["store starts", "store stops"]
