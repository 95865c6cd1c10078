"""How little and how much."""

from __future__ import annotations

from typing import Any

import pytest

from edgek.model import kinds
from edgek.model.errors import Forbidden
from edgek.server.api.admission.limit_ranger import ANNOTATION, LimitRanger
from edgek.server.api.authz import Authorizer
from edgek.server.store.memory import MemoryBackend
from tests.server.api.admission.reviewing import named, review

DEFAULTS = {
    "type": "Container",
    "default": {"cpu": "500m", "memory": "64Mi"},
    "defaultRequest": {"cpu": "100m"},
    "max": {"cpu": "1"},
    "min": {"cpu": "50m"},
}


def admitted(kind: kinds.Kind, spec: dict[str, Any], item: dict[str, Any]) -> dict[str, Any]:
    step = LimitRanger(Authorizer(MemoryBackend()))
    under = review(kind, named("x", "ns", spec=spec), (kinds.LIMIT_RANGE, named("l", "ns", spec={"limits": [item]})))
    assert step.handles(under)
    step.admit(under)
    step.validate(under)
    assert under.obj is not None
    return under.obj


def pod(*resources: dict[str, Any]) -> dict[str, Any]:
    return {"containers": [{"name": f"c{number}", "resources": each} for number, each in enumerate(resources)]}


SIDECAR = {"initContainers": [{"name": "s", "restartPolicy": "Always", "resources": {"limits": {"cpu": "500m"}}}]}


async def test_a_container_that_asks_for_nothing_gets_the_defaults_and_is_told() -> None:
    found = admitted(kinds.POD, pod({}), DEFAULTS)
    assert found["spec"]["containers"][0]["resources"] == {"requests": {"cpu": "100m", "memory": "64Mi"}, "limits": {"cpu": "500m", "memory": "64Mi"}}
    assert found["metadata"]["annotations"] == {
        ANNOTATION: "LimitRanger plugin set: cpu, memory request for container c0; cpu, memory limit for container c0"
    }


async def test_what_it_asks_for_itself_stays() -> None:
    found = admitted(kinds.POD, pod({"requests": {"cpu": "200m"}}), DEFAULTS)
    assert found["spec"]["containers"][0]["resources"]["requests"] == {"cpu": "200m", "memory": "64Mi"}
    assert found["metadata"]["annotations"][ANNOTATION].startswith("LimitRanger plugin set: memory request for container c0;")


@pytest.mark.parametrize(
    ("kind", "spec", "item", "why"),
    [
        (kinds.POD, pod({"limits": {"cpu": "2"}}), DEFAULTS, "maximum cpu usage per Container is 1, but limit is 2"),
        (kinds.POD, pod({"requests": {"cpu": "10m"}}), DEFAULTS, "minimum cpu usage per Container is 50m, but request is 10m"),
        (kinds.POD, pod({"requests": {"cpu": "100m"}, "limits": {"cpu": "500m"}}), {"type": "Container", "maxLimitRequestRatio": {"cpu": "2"}}, "cpu max limit to request ratio per Container is 2, but provided ratio is 5.000000"),
        (kinds.POD, pod({"limits": {"cpu": "600m"}}, {"limits": {"cpu": "600m"}}), {"type": "Pod", "max": {"cpu": "1"}}, "maximum cpu usage per Pod is 1, but limit is 1200m"),
        (kinds.POD, pod({"limits": {"cpu": "600m"}}) | SIDECAR, {"type": "Pod", "max": {"cpu": "1"}}, "maximum cpu usage per Pod is 1, but limit is 1100m"),
        (kinds.POD, pod({}), {"type": "Pod", "max": {"cpu": "1"}}, "maximum cpu usage per Pod is 1.  No limit is specified"),
        (kinds.POD, pod({}), {"type": "Pod", "min": {"cpu": "1", "memory": "1Gi"}}, "[minimum cpu usage per Pod is 1.  No request is specified, minimum memory usage per Pod is 1Gi.  No request is specified]"),
        (kinds.PERSISTENT_VOLUME_CLAIM, {"resources": {"requests": {"storage": "2Gi"}}}, {"type": "PersistentVolumeClaim", "max": {"storage": "1Gi"}}, "maximum storage usage per PersistentVolumeClaim is 1Gi, but request is 2Gi"),
        (kinds.PERSISTENT_VOLUME_CLAIM, {"resources": {"requests": {"storage": "1Mi"}}}, {"type": "PersistentVolumeClaim", "min": {"storage": "1Gi"}}, "minimum storage usage per PersistentVolumeClaim is 1Gi, but request is 1Mi"),
    ],
    ids=["over", "under", "ratio", "pod-total", "pod-with-sidecar", "pod-without-limit", "several", "claim-over", "claim-under"],
)  # fmt: skip
async def test_what_lies_outside_the_limits_is_refused(kind: kinds.Kind, spec: dict[str, Any], item: dict[str, Any], why: str) -> None:
    with pytest.raises(Forbidden) as caught:
        admitted(kind, spec, item)
    assert caught.value.message.partition(" is forbidden: ")[2] == why
