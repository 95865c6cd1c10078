from __future__ import annotations

from typing import Any

import pytest

from edgek.agent.kubelet.resources import PodShare, limits, of_container, of_pod, oom_score_adj, qos_class, requests
from edgek.model.objects import Object


def asks(cpu: str = "", memory: str = "", *, cpu_limit: str = "", memory_limit: str = "", **more: Any) -> Object:
    def section(cpu: str, memory: str) -> Object:
        return {key: value for key, value in (("cpu", cpu), ("memory", memory)) if value}

    return {"name": "c", "resources": {"requests": section(cpu, memory), "limits": section(cpu_limit, memory_limit)}, **more}


def a_pod(*containers: Object, init: tuple[Object, ...] = (), **spec: Any) -> Object:
    return {"spec": {"containers": list(containers), "initContainers": list(init), **spec}}


@pytest.mark.parametrize(
    ("pod", "wanted"),
    [
        (a_pod(asks()), "BestEffort"),
        (a_pod(asks(cpu="1")), "Burstable"),
        (a_pod(asks("1", "1Gi", cpu_limit="1", memory_limit="1Gi")), "Guaranteed"),
        (a_pod(asks(cpu_limit="1", memory_limit="1Gi")), "Guaranteed"),
        (a_pod(asks("1", "1Gi", cpu_limit="1", memory_limit="1Gi"), asks()), "Burstable"),
        (a_pod(asks("1", "1Gi", cpu_limit="2", memory_limit="1Gi")), "Burstable"),
    ],
)
def test_the_class_of_service(pod: Object, wanted: str) -> None:
    assert qos_class(pod) == wanted


def test_a_pod_asks_for_its_largest_moment() -> None:
    sidecar = asks("200m", restartPolicy="Always")
    pod = a_pod(asks("1"), asks("500m"), init=(asks("1"), sidecar, asks("3")))
    assert requests(pod, "cpu") == pytest.approx(3.2)  # the last init container beside the sidecar
    assert requests(a_pod(asks("1"), init=(sidecar,), overhead={"cpu": "100m"}), "cpu") == pytest.approx(1.3)


def test_a_pod_is_limited_only_where_all_its_containers_are() -> None:
    assert limits(a_pod(asks(cpu_limit="1"), asks(cpu_limit="2")), "cpu") == 3
    assert limits(a_pod(asks(cpu_limit="1"), asks()), "cpu") == 0


def test_what_cgroups_are_told() -> None:
    found = of_container(a_pod(), asks("250m", "64Mi", cpu_limit="500m", memory_limit="128Mi"), 1 << 30)
    assert (found.cpu_shares, found.cpu_quota_us, found.memory_limit_bytes) == (256, 50_000, 128 << 20)
    assert of_container(a_pod(), asks(), 1 << 30).cpu_shares == 2
    assert of_pod(a_pod(asks("1", cpu_limit="2", memory_limit="1Gi"))) == PodShare(1024, 200_000, 1 << 30)


def test_who_is_killed_first_when_memory_is_short() -> None:
    capacity = 1 << 30
    best_effort, burstable = a_pod(asks()), a_pod(asks(memory="512Mi"))
    guaranteed = a_pod(asks("1", "1Gi", cpu_limit="1", memory_limit="1Gi"))
    scores = [oom_score_adj(pod, pod["spec"]["containers"][0], capacity) for pod in (best_effort, burstable, guaranteed)]
    assert scores == [1000, 500, -997]
