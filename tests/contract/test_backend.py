"""What every store promises, held against every store."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import orjson
import pytest
import trio
import trio.testing

from edgek.model import errors
from edgek.server.store.backend import Draft, Event, Page, Record, Subscription
from edgek.server.store.memory import MemoryBackend
from edgek.server.store.sqlite import SqliteBackend
from tests.server.store.drafts import draft, fresh_file, heard, key, said

Store = MemoryBackend | SqliteBackend
Opener = Callable[[], AbstractAsyncContextManager[Store]]


@pytest.fixture(params=["memory", "sqlite"])
def opener(request: pytest.FixtureRequest, tmp_path: Path) -> Opener:
    @asynccontextmanager
    async def memory() -> AsyncIterator[Store]:
        yield MemoryBackend()

    def sqlite() -> AbstractAsyncContextManager[Store]:
        return SqliteBackend.open(fresh_file(tmp_path))

    return memory if request.param == "memory" else sqlite


def names(page: Page) -> list[str]:
    return [record.key.name for record in page.records]


async def test_a_created_object_can_be_read_with_its_revision_in_its_body(opener: Opener) -> None:
    async with opener() as store:
        made = await store.create(key("web"), draft("one", labels={"app": "web"}, fields={"status.phase": "Pending"}))
        assert store.get(key("web")) is made
        assert orjson.loads(made.body) == {"revision": made.revision, "say": "one"}
        assert (made.labels, made.fields) == ({"app": "web"}, {"status.phase": "Pending"})
        assert store.revision == made.revision > 1


async def test_a_body_is_kept_without_the_spare_room_of_its_encoder(opener: Opener) -> None:
    encoded: list[bytes] = []

    def encode(revision: int) -> bytes:
        encoded.append(orjson.dumps({"revision": revision}))
        return encoded[0]

    async with opener() as store:
        made = await store.create(key("web"), Draft("u", {}, {}, encode))
        assert len(encoded) == 1
        assert made.body == encoded[0]
        assert made.body is not encoded[0]


async def test_the_words_by_which_objects_are_selected_are_kept_once_for_all_objects(opener: Opener) -> None:
    def words() -> dict[str, str]:
        return {"".join(["involved", "Object.name"]): "".join(["web", "-1"])}

    async with opener() as store:
        first = await store.create(key("a"), draft(labels=words(), fields=words()))
        second = await store.create(key("b"), draft(labels=words(), fields=words()))
        kept = [each for record in (first, second) for found in (record.labels, record.fields) for each in found.items()]
        assert len({(id(name), id(value)) for name, value in kept}) == 1
        assert kept[0] == ("involvedObject.name", "web-1")


async def test_a_name_is_taken_once_per_resource_and_namespace(opener: Opener) -> None:
    async with opener() as store:
        await store.create(key("web"), draft())
        await store.create(key("web", namespace="other"), draft())
        await store.create(key("web", resource="services"), draft())
        with pytest.raises(errors.AlreadyExists, match='pods "web" already exists'):
            await store.create(key("web"), draft())


async def test_a_refusal_names_the_object_the_way_a_status_does(opener: Opener) -> None:
    async with opener() as store:
        with pytest.raises(errors.NotFound, match=r'deployments.apps "web" not found') as refused:
            await store.update(key("web", resource="deployments.apps"), draft(), expected=7)
        assert refused.value.details() == {"name": "web", "group": "apps", "kind": "deployments"}


async def test_an_update_needs_the_revision_that_was_read(opener: Opener) -> None:
    async with opener() as store:
        first = await store.create(key("web"), draft("one"))
        second = await store.update(key("web"), draft("two"), expected=first.revision)
        assert second.revision > first.revision
        with pytest.raises(errors.Conflict, match="the object has been modified"):
            await store.update(key("web"), draft("three"), expected=first.revision)
        with pytest.raises(errors.Conflict):
            await store.delete(key("web"), draft("gone"), expected=first.revision)
        assert store.get(key("web")) is second


async def test_a_deletion_takes_a_revision_and_shows_the_last_state(opener: Opener) -> None:
    async with opener() as store:
        made = await store.create(key("web"), draft("one"))
        gone = await store.delete(key("web"), draft("last"), expected=made.revision)
        assert store.get(key("web")) is None
        assert store.revision == gone.revision == made.revision + 1
        assert orjson.loads(gone.body)["say"] == "last"
        with pytest.raises(errors.NotFound):
            await store.delete(key("web"), draft(), expected=gone.revision)
        again = await store.create(key("web"), draft("two"))
        assert again.revision > gone.revision


async def test_an_encoder_that_fails_costs_no_revision(opener: Opener) -> None:
    def broken(revision: int) -> bytes:
        raise errors.Invalid(f"cannot encode at {revision}")

    async with opener() as store:
        before = store.revision
        with pytest.raises(errors.Invalid):
            await store.create(key("web"), Draft("u", {}, {}, broken))
        assert (await store.create(key("web"), draft())).revision == before + 1


async def test_lists_are_in_order_of_namespace_and_name(opener: Opener) -> None:
    async with opener() as store:
        for namespace, name in [("b", "a"), ("a", "c"), ("a-b", "z"), ("a", "b"), ("", "cluster")]:
            await store.create(key(name, namespace=namespace), draft())
        places = [(record.key.namespace, record.key.name) for record in store.list("pods").records]
        assert places == [("", "cluster"), ("a", "b"), ("a", "c"), ("a-b", "z"), ("b", "a")]
        assert names(store.list("pods", "a")) == ["b", "c"]
        assert names(store.list("pods", "none")) == names(store.list("nodes")) == []


async def test_pages_follow_each_other_and_count_what_remains(opener: Opener) -> None:
    async with opener() as store:
        for name in "abcde":
            await store.create(key(name), draft())
        first = store.list("pods", "default", limit=2)
        second = store.list("pods", "default", start=("default", "b"), limit=2, revision=first.revision)
        third = store.list("pods", "default", start=("default", "d"), limit=2, revision=first.revision)
        assert [names(page) for page in (first, second, third)] == [["a", "b"], ["c", "d"], ["e"]]
        assert [(page.more, page.remaining) for page in (first, second, third)] == [(True, 3), (True, 1), (False, 0)]


async def test_later_pages_show_the_objects_as_they_were_when_the_list_began(opener: Opener) -> None:
    async with opener() as store:
        made = {name: await store.create(key(name), draft("old")) for name in "bdfh"}
        first = store.list("pods", limit=1)
        await store.create(key("a"), draft("new"))
        await store.create(key("e"), draft("new"))
        await store.delete(key("d"), draft("gone"), expected=made["d"].revision)
        await store.delete(key("h"), draft("gone"), expected=made["h"].revision)
        changed = await store.update(key("f"), draft("new"), expected=made["f"].revision)
        await store.update(key("f"), draft("newer"), expected=changed.revision)

        rest = store.list("pods", start=("default", "b"), limit=2, revision=first.revision)
        last = store.list("pods", start=("default", "f"), limit=2, revision=first.revision)
        assert (names(first), names(rest), names(last)) == (["b"], ["d", "f"], ["h"])
        assert [said(record) for record in rest.records] == ["old", "old"]
        assert (rest.remaining, last.remaining, rest.revision) == (1, 0, first.revision)
        assert names(store.list("pods")) == ["a", "b", "e", "f"]


async def test_a_compacted_revision_is_expired_and_a_future_one_too_large(opener: Opener) -> None:
    async with opener() as store:
        first = await store.create(key("a"), draft())
        second = await store.create(key("b"), draft())
        await store.create(key("c"), draft())
        store.compact(second.revision)
        assert store.oldest == second.revision
        assert names(store.list("pods", revision=second.revision)) == ["a", "b"]
        with pytest.raises(errors.Expired, match="resourceVersion for the provided list is too old"):
            store.list("pods", revision=first.revision)
        with pytest.raises(errors.Expired, match=f"too old resource version: {first.revision} "):
            store.watch("pods", "", first.revision, lambda events: None)
        with pytest.raises(errors.Timeout, match="Too large resource version"):
            store.list("pods", revision=store.revision + 1)


async def test_a_watch_hears_what_is_past_and_what_comes_once_and_in_order(opener: Opener) -> None:
    async with opener() as store:
        first = await store.create(key("web"), draft("one"))
        second = await store.update(key("web"), draft("two"), expected=first.revision)
        events: list[Event] = []
        store.watch("pods", "", first.revision, events.extend)
        assert heard(events) == [("MODIFIED", "web", "two", "one")]
        await store.delete(key("web"), draft("three"), expected=second.revision)
        await store.create(key("api"), draft("four"))
        assert heard(events) == [
            ("MODIFIED", "web", "two", "one"),
            ("DELETED", "web", "three", "two"),
            ("ADDED", "api", "four", None),
        ]
        assert [event.record.revision for event in events] == sorted(event.record.revision for event in events)


async def test_a_watch_hears_its_resource_and_its_namespace_only(opener: Opener) -> None:
    async with opener() as store:
        everywhere: list[Event] = []
        here: list[Event] = []
        store.watch("pods", "", store.revision, everywhere.extend)
        store.watch("pods", "here", store.revision, here.extend)
        await store.create(key("a", namespace="here"), draft())
        await store.create(key("b", namespace="there"), draft())
        await store.create(key("c", namespace="here", resource="services"), draft())
        assert [event.record.key.name for event in everywhere] == ["a", "b"]
        assert [event.record.key.name for event in here] == ["a"]
        assert everywhere[0] is here[0]


async def test_a_watch_from_a_future_revision_hears_only_what_comes_after_it(opener: Opener) -> None:
    async with opener() as store:
        events: list[Event] = []
        store.watch("pods", "", store.revision + 1, events.extend)
        await store.create(key("a"), draft())
        await store.create(key("b"), draft())
        assert [event.record.key.name for event in events] == ["b"]


async def test_a_closed_watch_hears_nothing_even_when_closed_during_a_delivery(opener: Opener) -> None:
    async with opener() as store:
        events: list[Event] = []
        watches: list[Subscription] = []

        def close_the_second(batch: object) -> None:
            watches[1].close()
            watches[1].close()

        watches.append(store.watch("pods", "", store.revision, close_the_second))
        watches.append(store.watch("pods", "", store.revision, events.extend))
        await store.create(key("a"), draft())
        watches[0].close()
        await store.create(key("b"), draft())
        assert events == []


async def test_a_watch_opened_during_a_delivery_hears_that_batch_once(opener: Opener) -> None:
    async with opener() as store:
        before = store.revision
        events: list[Event] = []

        def open_another(batch: object) -> None:
            first.close()
            store.watch("pods", "", before, events.extend)

        first = store.watch("pods", "", before, open_another)
        await store.create(key("a"), draft())
        await store.create(key("b"), draft())
        assert [event.record.key.name for event in events] == ["a", "b"]


async def test_waiting_for_a_revision_ends_when_it_can_be_read(opener: Opener) -> None:
    async with opener() as store:
        wanted = store.revision + 2
        reached: list[int] = []

        async def wait() -> None:
            await store.wait_for(wanted)
            reached.append(store.revision)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait)
            await store.create(key("a"), draft())
            await trio.testing.wait_all_tasks_blocked()
            assert reached == []
            await store.create(key("b"), draft())
        assert reached == [wanted]
        await store.wait_for(wanted)


async def test_of_many_writers_with_the_same_revision_exactly_one_wins_each_round(opener: Opener) -> None:
    async with opener() as store:
        current = await store.create(key("count"), draft("0"))
        for number in range(3):
            outcomes = await race(*(attempt(store, current, f"{number}-{i}") for i in range(8)))
            won = [outcome for outcome in outcomes if isinstance(outcome, Record)]
            assert len(won) == 1
            assert store.get(key("count")) is won[0]
            current = won[0]


async def test_the_loser_of_a_race_can_read_what_it_lost_to(opener: Opener) -> None:
    async with opener() as store:
        seen: list[str] = []

        async def create(say: str) -> None:
            try:
                await store.create(key("web"), draft(say))
            except errors.AlreadyExists:
                found = store.get(key("web"))
                assert found is not None
                seen.append(said(found))

        async with trio.open_nursery() as nursery:
            for _ in range(4):
                nursery.start_soon(create, "same")
        assert seen == ["same"] * 3


async def test_volatile_and_lasting_writes_appear_in_one_order(opener: Opener) -> None:
    async with opener() as store:
        revisions: list[int] = []
        for resource in ("pods", "leases.coordination.k8s.io", "events"):
            store.watch(resource, "", store.revision, lambda events: revisions.extend(event.record.revision for event in events))

        async def write(resource: str, count: int) -> None:
            for number in range(count):
                made = await store.create(key(f"{resource}-{number}", resource=resource), draft())
                assert store.revision >= made.revision

        async with trio.open_nursery() as nursery:
            for resource in ("pods", "leases.coordination.k8s.io", "events"):
                nursery.start_soon(write, resource, 20)
        assert revisions == sorted(revisions)
        assert len(revisions) == 60


async def attempt(store: Store, current: Record, say: str) -> Record | errors.ApiError:
    try:
        return await store.update(current.key, draft(say), expected=current.revision)
    except errors.Conflict as conflict:
        return conflict


async def race(*attempts: object) -> list[object]:
    outcomes: list[object] = []

    async def run(attempt: object) -> None:
        outcomes.append(await attempt)  # type: ignore[misc]

    async with trio.open_nursery() as nursery:
        for each in attempts:
            nursery.start_soon(run, each)
    return outcomes
