from __future__ import annotations

from typing import Any

import pytest

from edgek.model.quality import quality_class
from tests.server.resources.scene import table

BOTH = {"cpu": "1", "memory": "1Gi"}


def container(requests: dict[str, str] | None = None, limits: dict[str, str] | None = None) -> dict[str, Any]:
    return {"resources": {"requests": requests or {}, "limits": limits or {}}}


@pytest.mark.parametrize(
    ("containers", "quality"),
    table(
        {
            "who asks for nothing gets what is left": ([container()], "BestEffort"),
            "zero is nothing": ([container({"cpu": "0"})], "BestEffort"),
            "who is limited to what it asks for is sure of it": ([container(BOTH, BOTH)], "Guaranteed"),
            "the same amount in other words": ([container({"cpu": "1000m", "memory": "1024Mi"}, BOTH)], "Guaranteed"),
            "all containers must be": ([container(BOTH, BOTH), container()], "Burstable"),
            "CPU alone is not enough": ([container({"cpu": "1"}, {"cpu": "1"})], "Burstable"),
            "other resources do not count": ([container({"example.com/gpu": "1"}, {"example.com/gpu": "1"})], "BestEffort"),
        }
    ),
)
def test_the_quality_of_service(containers: list[dict[str, Any]], quality: str) -> None:
    assert quality_class({"containers": containers}) == quality


def test_what_the_pod_asks_for_as_a_whole_goes_before_its_containers() -> None:
    assert quality_class({"containers": [container()], "resources": {"requests": BOTH, "limits": BOTH}}) == "Guaranteed"
