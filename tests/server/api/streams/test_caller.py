import pytest
import trio
import trio.testing

from edgek.client.node import ExecOptions
from edgek.server.api.responses import Cut
from edgek.server.api.streams.caller import PROBE_S, TYPED_AHEAD, Typed, told

STDIN = ExecOptions(("cat",), stdin=True)


class Probed:
    def __init__(self, *, dead: bool = False) -> None:
        self.count = 0
        self.dead = dead

    async def __call__(self) -> None:
        await trio.lowlevel.checkpoint()
        self.count += 1
        if self.dead:
            raise Cut


async def test_what_is_typed_ahead_is_kept_and_then_the_caller_waits(autojump_clock: trio.testing.MockClock) -> None:
    probed = Probed()
    typed = Typed(STDIN, probed)
    for _ in range(TYPED_AHEAD):
        await typed.type(b"x")
    with trio.move_on_after(PROBE_S * 3.5) as scope:
        await typed.type(b"y")
    assert scope.cancelled_caught
    assert probed.count == 3


async def test_a_dead_caller_is_probed_once(autojump_clock: trio.testing.MockClock) -> None:
    probed = Probed(dead=True)
    typed = Typed(STDIN, probed)
    for _ in range(TYPED_AHEAD):
        await typed.type(b"x")
    with trio.move_on_after(PROBE_S * 3.5):
        await typed.type(b"y")
    assert probed.count == 1


async def test_what_waited_is_read_in_order_up_to_the_end_of_input(autojump_clock: trio.testing.MockClock) -> None:
    typed = Typed(STDIN, Probed())
    sent = [b"%d" % number for number in range(TYPED_AHEAD * 2)]

    async def type_all() -> None:
        for piece in sent:
            await typed.type(piece)
        typed.end_of_input()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(type_all)
        assert [piece async for piece in typed.stdin] == sent


@pytest.mark.parametrize("asked", [True, False], ids=["the command reads no more", "stdin was not asked for"])
async def test_what_nobody_reads_is_dropped(asked: bool, autojump_clock: trio.testing.MockClock) -> None:
    typed = Typed(ExecOptions(("true",), stdin=asked), Probed())
    typed.stdin.close()
    with trio.fail_after(1):
        for _ in range(TYPED_AHEAD * 2):
            await typed.type(b"x")


def test_before_v4_success_has_no_words() -> None:
    assert told({"status": "Success"}, as_status=False) == b""
    assert told({"status": "Success"}, as_status=True) == b'{"status":"Success"}'
