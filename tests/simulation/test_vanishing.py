"""Whenever nodes vanish, however and for however long: what pods say by ``edgek.io/when-away`` holds, and all is well in the end.

``VANISHING=500 pytest tests/simulation/test_vanishing.py`` looks longer than CI does, and elsewhere.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import trio
import trio.testing
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.simulation import vanishing
from tests.simulation.cluster import open_cluster
from tests.simulation.vanishing import LATEST_S, SERVER, WAYS, Census, Server, Vanish

SEARCHED = int(os.environ.get("VANISHING", "0"))
EXAMPLES = SEARCHED or 6  # about three seconds each

times = st.sampled_from([0.0, 3.0, 17.0, 40.0, 90.0])
vanishes = st.builds(
    Vanish, st.sampled_from(sorted(WAYS)), times, st.sampled_from([1.0, 12.0, 38.0, 55.0, 62.0, 75.0, 110.0, 135.0, 142.0, 150.0, 400.0])
)
fates = st.tuples(*[st.lists(vanishes, max_size=3)] * 3)
servers = st.lists(st.builds(Server, st.sampled_from(sorted(SERVER)), times, st.integers(0, 100)), max_size=4)


def one_after_another(how: str, away_s: float) -> tuple[list[Vanish], ...]:
    return tuple([Vanish(how, number * (away_s + 100), away_s)] for number in range(3))


async def live_through(folder: Path, fate: tuple[list[Vanish], ...], server: list[Server]) -> list[str]:
    async with open_cluster(folder, nodes=3) as cluster:
        census = Census()
        await vanishing.furnish(cluster, census)
        kept = vanishing.places(cluster, "kept")
        await vanishing.live(cluster, fate, server)
        # Only an agent that runs can stop anything.
        certain = not any(each.how == "dead_agent" and each.away_s > LATEST_S for node in fate for each in node)
        return (census.twice if certain else []) + await vanishing.faults(cluster, kept, fate, calm=not server)


def run(folder: Path, fate: tuple[list[Vanish], ...], server: list[Server]) -> list[str]:
    """On a fresh disk and a clock of its own."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    return trio.run(live_through, folder, fate, server, clock=trio.testing.MockClock(autojump_threshold=0))


@settings(
    max_examples=EXAMPLES,
    derandomize=not SEARCHED,
    database=None,
    deadline=None,
    print_blob=False,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@example(fate=one_after_another("link", 400), server=[])
@example(fate=one_after_another("link", 142), server=[Server("slow_down", 0, 3)])
@example(fate=one_after_another("power_then_link", 200), server=[])
@given(fate=fates, server=servers)
def test_pods_are_kept_moved_and_stopped_as_they_say_and_never_two_run(tmp_path: Path, fate: tuple[list[Vanish], ...], server: list[Server]) -> None:
    assert run(tmp_path / "cluster", fate, server) == []
