import os

import pytest

from edgek.host import usage


def test_our_own_cost_is_counted():
    cost = usage.of_process(os.getpid())
    assert cost.resident_bytes > cost.anonymous_bytes > 1 << 20
    assert cost.cpu_s > 0
    assert cost.threads >= 1


def test_a_process_that_is_gone_is_named():
    with pytest.raises(ProcessLookupError, match="4194305"):
        usage.of_process(4194305)


def test_a_start_time_names_a_process_for_good():
    assert usage.started_at(os.getpid()) == usage.started_at(os.getpid()) > usage.started_at(1)
