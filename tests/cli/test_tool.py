from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.root
def test_our_routes_go_and_those_of_others_stay() -> None:
    ways = "ip link set lo up; ip route add 198.51.100.0/24 dev lo; ip route add 203.0.113.0/24 dev lo proto 237"
    script = f"{ways}; {sys.executable} -m edgek internal-tool unroute && {sys.executable} -m edgek internal-tool unroute && ip route"
    done = subprocess.run(["unshare", "--net", "sh", "-ec", script], capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["198.51.100.0/24", "dev", "lo", "scope", "link"], done.stderr
