from __future__ import annotations

import trio
import trio.testing

from edgek.agent.kubelet.lifecycle import Trouble
from edgek.agent.kubelet.setbacks import PAUSE_MOST_S, STEP, Setbacks
from edgek.agent.kubelet.starting import ActionFailed


def test_pauses_double_with_each_failure_in_a_row_up_to_a_minute() -> None:
    setbacks = Setbacks()
    assert [setbacks.pause_s("main") for _ in range(8)] == [2, 4, 8, 16, 32, PAUSE_MOST_S, PAUSE_MOST_S, PAUSE_MOST_S]
    assert setbacks.pause_s("other") == 2
    setbacks.recovered("main")
    assert setbacks.pause_s("main") == 2


def test_a_change_lets_all_be_tried_now_but_pauses_go_on_where_they_were() -> None:
    setbacks = Setbacks()
    setbacks.failed(ActionFailed("main", "ErrImagePull", "no such image", 100.0))
    assert setbacks.troubles == {"main": Trouble("ErrImagePull", "no such image", 100.0)}
    setbacks.pause_s("main")
    setbacks.changed()
    assert setbacks.troubles == {}
    assert setbacks.pause_s("main") == 4


async def test_what_is_put_off_is_so_for_its_pause(autojump_clock: trio.testing.MockClock) -> None:
    setbacks = Setbacks()
    assert setbacks.left_s == 0
    assert setbacks.put_off(STEP) == 2
    await trio.sleep(1.5)
    assert setbacks.left_s == 0.5
    await trio.sleep(1)
    assert setbacks.left_s == 0
    setbacks.put_off(STEP)
    setbacks.go_on()
    assert setbacks.left_s == 0
