"""What pods may do to their node."""

from __future__ import annotations

from typing import Any

import pytest

from edgek.model import kinds
from edgek.model.errors import Forbidden, Invalid
from edgek.server.api.admission.base import Review
from edgek.server.api.admission.pod_security import PodSecurity
from edgek.server.api.admission.pod_security_checks import violations
from edgek.server.api.authz import Authorizer
from edgek.server.store.memory import MemoryBackend
from tests.server.api.admission.reviewing import named, review

SAFE_CONTAINER = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
SAFE = {
    "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
    "containers": [{"name": "c", "securityContext": SAFE_CONTAINER}],
}
PLAIN = {"containers": [{"name": "c"}]}
UNRESTRICTED = (
    'allowPrivilegeEscalation != false (container "c" must set securityContext.allowPrivilegeEscalation=false), '
    'unrestricted capabilities (container "c" must set securityContext.capabilities.drop=["ALL"]), '
    'runAsNonRoot != true (pod or container "c" must set securityContext.runAsNonRoot=true), '
    'seccompProfile (pod or container "c" must set securityContext.seccompProfile.type to "RuntimeDefault" or "Localhost")'
)


def namespace(**labels: str) -> tuple[kinds.Kind, dict[str, Any]]:
    marks = {f"pod-security.kubernetes.io/{mode.replace('_', '-')}": text for mode, text in labels.items()}
    return kinds.NAMESPACE, named("ns", metadata={"labels": marks})


async def judged(under: Review) -> Review:
    step = PodSecurity(Authorizer(MemoryBackend()))
    assert step.handles(under)
    step.validate(under)
    return under


def container(**context: Any) -> dict[str, Any]:
    return {"containers": [{"name": "c", "securityContext": context}]}


@pytest.mark.parametrize(
    ("spec", "why"),
    [
        ({**PLAIN, "hostNetwork": True, "hostPID": True}, "host namespaces (hostNetwork=true, hostPID=true)"),
        (container(privileged=True), 'privileged (container "c" must not set securityContext.privileged=true)'),
        ({**PLAIN, "volumes": [{"name": "h", "hostPath": {"path": "/"}}]}, 'hostPath volumes (volume "h")'),
        (container(capabilities={"add": ["SYS_ADMIN"]}), 'non-default capabilities (container "c" must not include "SYS_ADMIN" in securityContext.capabilities.add)'),
        ({"containers": [{"name": "c", "ports": [{"hostPort": 80}]}]}, 'hostPort (container "c" uses hostPort 80)'),
        ({"containers": [{"name": "a", "ports": [{"hostPort": 80}]}, {"name": "b", "ports": [{"hostPort": 81}]}]}, 'hostPort (containers "a", "b" use hostPorts 80, 81)'),
        (container(procMount="Unmasked"), 'procMount (container "c" must not set securityContext.procMount to "Unmasked")'),
        (container(seccompProfile={"type": "Unconfined"}), 'seccompProfile (container "c" must not set securityContext.seccompProfile.type to "Unconfined")'),
        ({**PLAIN, "securityContext": {"sysctls": [{"name": "kernel.msgmax"}]}}, "forbidden sysctls (kernel.msgmax)"),
        (container(seLinuxOptions={"type": "x", "role": "r"}), 'seLinuxOptions (container "c" set forbidden securityContext.seLinuxOptions: type "x"; role may not be set)'),
        (container(windowsOptions={"hostProcess": True}), 'hostProcess (container "c" must not set securityContext.windowsOptions.hostProcess=true)'),
        (container(appArmorProfile={"type": "Unconfined"}), 'forbidden AppArmor profile (container "c" must not set AppArmor profile type to "Unconfined")'),
        ({"containers": [{"name": "c", "livenessProbe": {"httpGet": {"host": "10.0.0.1"}}}]}, 'probe or lifecycle host (container "c" uses probe or lifecycle host "10.0.0.1")'),
        (PLAIN, ""),
        (container(capabilities={"add": ["CHOWN"]}, seLinuxOptions={"type": "container_t"}), ""),
    ],
)  # fmt: skip
def test_baseline_forbids_what_reaches_the_node(spec: dict[str, Any], why: str) -> None:
    assert ", ".join(map(str, violations("baseline", {"metadata": {}, "spec": spec}))) == why


@pytest.mark.parametrize(
    ("spec", "why"),
    [
        (SAFE, ""),
        (PLAIN, UNRESTRICTED),
        ({**SAFE, "volumes": [{"name": "h", "hostPath": {}}, {"name": "e", "emptyDir": {}}]}, 'restricted volume types (volume "h" uses restricted volume type "hostPath")'),
        ({**SAFE, "securityContext": {**SAFE["securityContext"], "runAsUser": 0}}, "runAsUser=0 (pod must not set runAsUser=0)"),
        ({**SAFE, "securityContext": {**SAFE["securityContext"], "runAsNonRoot": False}}, "runAsNonRoot != true (pod must not set securityContext.runAsNonRoot=false)"),
        ({**SAFE, "hostNetwork": True}, "host namespaces (hostNetwork=true)"),
    ],
)  # fmt: skip
def test_restricted_wants_its_wishes_fulfilled(spec: dict[str, Any], why: str) -> None:
    assert ", ".join(map(str, violations("restricted", {"metadata": {}, "spec": spec}))) == why


async def test_a_pod_that_breaks_the_rule_is_refused() -> None:
    with pytest.raises(Forbidden) as caught:
        await judged(review(kinds.POD, named("x", spec=PLAIN), namespace(enforce="restricted", enforce_version="v1.30")))
    assert caught.value.message == f'pods "x" is forbidden: violates PodSecurity "restricted:v1.30": {UNRESTRICTED}'
    await judged(review(kinds.POD, named("x", spec=SAFE), namespace(enforce="restricted")))
    await judged(review(kinds.POD, named("x", spec={**PLAIN, "hostNetwork": True}), namespace()))


async def test_what_would_make_such_pods_warns() -> None:
    deployment = named("d", spec={"template": {"spec": PLAIN}})
    under = await judged(review(kinds.DEPLOYMENT, deployment, namespace(enforce="restricted")))
    assert under.warnings == [f'would violate PodSecurity "restricted:latest": {UNRESTRICTED}']
    under = await judged(
        review(kinds.CRON_JOB, named("c", spec={"jobTemplate": {"spec": {"template": {"spec": SAFE}}}}), namespace(warn="restricted"))
    )
    assert under.warnings == []


async def test_a_namespace_can_warn_of_more_than_it_refuses() -> None:
    under = await judged(review(kinds.POD, named("x", spec=PLAIN), namespace(enforce="baseline", warn="restricted")))
    assert under.warnings == [f'would violate PodSecurity "restricted:latest": {UNRESTRICTED}']


async def test_a_label_must_name_a_level() -> None:
    kind, bad = namespace(enforce="nope", warn_version="7")
    with pytest.raises(Invalid) as caught:
        await judged(review(kind, bad))
    assert [cause.message for cause in caught.value.causes] == [
        'Invalid value: "nope": must be one of privileged, baseline, restricted',
        'Invalid value: "7": must be "latest" or "v1.x"',
    ]


async def test_who_raises_the_level_hears_of_the_pods_that_break_it() -> None:
    kind, new = namespace(enforce="restricted")
    pods = [(kinds.POD, named(name, "ns", spec={**PLAIN, "hostNetwork": True})) for name in ("b", "a", "c")]
    under = await judged(review(kind, new, *pods, (kinds.POD, named("good", "ns", spec=SAFE)), operation="UPDATE", old=namespace()[1]))
    assert under.warnings == [
        'existing pods in namespace "ns" violate the new PodSecurity enforce level "restricted:latest"',
        "a (and 2 other pods): host namespaces, allowPrivilegeEscalation != false, unrestricted capabilities, runAsNonRoot != true, seccompProfile",
    ]
