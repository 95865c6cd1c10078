"""Whatever happens, and in whatever order: left in peace, a cluster becomes what was asked for, and no node is ever given more than it has.

``TROUBLE=500 pytest tests/simulation/test_trouble.py`` looks longer than CI does, and elsewhere.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import trio
import trio.testing
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.simulation import trouble
from tests.simulation.cluster import open_cluster
from tests.simulation.trouble import OPERATIONS, Step

SEARCHED = int(os.environ.get("TROUBLE", "0"))
EXAMPLES = SEARCHED or 8  # about two seconds each

steps = st.builds(Step, st.sampled_from(sorted(OPERATIONS)), st.integers(0, 1000), st.sampled_from([0.0, 0.01, 0.3, 2.0, 15.0, 70.0, 400.0]))


async def live_through(folder: Path, plan: list[Step]) -> list[str]:
    """Everything that was wrong, then and in the end."""
    async with open_cluster(folder, nodes=3) as cluster:
        overfull = trouble.watch_room(cluster)
        await trouble.furnish(cluster)
        await trouble.carry_out(cluster, plan)
        await trouble.make_peace(cluster)
        return overfull + await trouble.faults(cluster)


def run(folder: Path, plan: list[Step]) -> list[str]:
    """On a fresh disk and a clock of its own."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    return trio.run(live_through, folder, plan, clock=trio.testing.MockClock(autojump_threshold=0))


@settings(
    max_examples=EXAMPLES,
    derandomize=not SEARCHED,
    database=None,
    deadline=None,
    print_blob=False,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(plan=st.lists(steps, min_size=8, max_size=25))
def test_a_cluster_that_is_left_in_peace_becomes_what_was_asked_for(tmp_path: Path, plan: list[Step]) -> None:
    assert run(tmp_path / "cluster", plan) == []
