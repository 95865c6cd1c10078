from __future__ import annotations

from typing import Any

import pytest

from edgek.model import kinds
from edgek.server import resources
from tests.server.resources.scene import ABSENT, changed, created, problems, table, updated

POD = resources.of(kinds.POD)
C = "spec.containers[0]"
LABEL = "a lowercase RFC 1123 label must consist of"


@pytest.mark.parametrize(
    ("image", "policy"),
    table(
        {
            "a tag that moves is pulled always": ("a:latest", "Always"),
            "no tag is the tag that moves": ("reg.example.com:5000/d", "Always"),
            "a fixed tag is pulled once": ("b:1.2", "IfNotPresent"),
            "a digest is pulled once": ("c@sha256:aaaa", "IfNotPresent"),
        }
    ),
)
def test_the_pull_policy_follows_the_image(image: str, policy: str) -> None:
    assert created(kinds.POD, {f"{C}.image": image})["spec"]["containers"][0]["imagePullPolicy"] == policy


def test_a_new_pod_is_pending_and_of_the_first_generation_whatever_its_author_says() -> None:
    pod = created(kinds.POD, {"status": {"phase": "Running"}, "metadata.generation": 9})
    assert pod["status"] == {"phase": "Pending", "qosClass": "BestEffort"}
    assert pod["metadata"]["generation"] == 1


def test_a_gated_pod_says_that_it_waits_for_its_gates() -> None:
    pod = created(kinds.POD, {"spec.schedulingGates": [{"name": "a"}]})
    assert [condition["reason"] for condition in pod["status"]["conditions"]] == ["SchedulingGated"]


def test_what_is_limited_is_requested_in_pods_but_not_in_templates() -> None:
    limits = {"limits": {"cpu": "1"}}
    pod = created(kinds.POD, {f"{C}.resources": limits})
    template = created(kinds.POD_TEMPLATE, {"template.spec.containers": [{"name": "c", "image": "i", "resources": limits}]})
    assert pod["spec"]["containers"][0]["resources"]["requests"] == {"cpu": "1"}
    assert "requests" not in template["template"]["spec"]["containers"][0]["resources"]


def test_on_the_hosts_network_a_port_is_the_hosts_port() -> None:
    pod = created(kinds.POD, {"spec.hostNetwork": True, f"{C}.ports": [{"containerPort": 80}]})
    assert pod["spec"]["containers"][0]["ports"] == [{"containerPort": 80, "hostPort": 80, "protocol": "TCP"}]


def test_a_volume_without_a_source_is_an_empty_directory() -> None:
    assert created(kinds.POD, {"spec.volumes": [{"name": "v"}]})["spec"]["volumes"] == [{"name": "v", "emptyDir": {}}]


def test_amounts_are_rounded_up_to_thousandths() -> None:
    pod = created(kinds.POD, {f"{C}.resources": {"requests": {"cpu": "1u"}}})
    assert pod["spec"]["containers"][0]["resources"]["requests"] == {"cpu": "1m"}


def test_defaults_can_be_filled_in_twice() -> None:
    pod = created(kinds.POD, {f"{C}.livenessProbe": {"httpGet": {"port": 80}}, "spec.volumes": [{"name": "s", "secret": {"secretName": "x"}}]})
    again = changed(pod, None)
    POD.default(again)
    assert again == pod


@pytest.mark.parametrize(
    ("changes", "said"),
    table(
        {
            "a pod needs a container": ({"spec.containers": []}, ["spec.containers: Required value"]),
            "a container needs a name": ({f"{C}.name": ABSENT}, [f"{C}.name: Required value"]),
            "two containers need two names": (
                {"spec.containers[1]": {"name": "c", "image": "x"}},
                ['spec.containers[1].name: Duplicate value: "c"'],
            ),
            "an init container shares the names of the others": (
                {"spec.initContainers": [{"name": "c", "image": "x"}]},
                ['spec.initContainers[0].name: Duplicate value: "c"'],
            ),
            "a container mounts only volumes of its pod": (
                {f"{C}.volumeMounts": [{"name": "v", "mountPath": "/x"}]},
                [f'{C}.volumeMounts[0].name: Not found: "v"'],
            ),
            "a path is mounted once": (
                {
                    "spec.volumes": [{"name": "v", "emptyDir": {}}],
                    f"{C}.volumeMounts": [{"name": "v", "mountPath": "/a"}, {"name": "v", "mountPath": "/a"}],
                },
                [f'{C}.volumeMounts[1].mountPath: Invalid value: "/a": must be unique'],
            ),
            "a volume has one source": (
                {"spec.volumes": [{"name": "a", "emptyDir": {}, "hostPath": {"path": "/x"}}]},
                ["spec.volumes[0].hostPath: Forbidden: may not specify more than 1 volume type"],
            ),
            "a path below a volume does not climb out of it": (
                {"spec.volumes": [{"name": "a", "configMap": {"name": "c", "items": [{"key": "k", "path": "../x"}]}}]},
                ["spec.volumes[0].configMap.items[0].path: Invalid value: \"../x\": must not contain '..'"],
            ),
            "a probe asks in one way": (
                {f"{C}.livenessProbe": {"exec": {"command": ["a"]}, "tcpSocket": {"port": 80}}},
                [f"{C}.livenessProbe.tcpSocket: Forbidden: may not specify more than 1 handler type"],
            ),
            "one failure is no reason to wait for two successes": (
                {f"{C}.livenessProbe": {"tcpSocket": {"port": 80}, "successThreshold": 2}},
                [f"{C}.livenessProbe.successThreshold: Invalid value: 2: must be 1"],
            ),
            "an init container that ends cannot be probed": (
                {"spec.initContainers": [{"name": "i", "image": "i", "livenessProbe": {"tcpSocket": {"port": 80}}}]},
                ["spec.initContainers[0].livenessProbe: Forbidden: may not be set for init containers without restartPolicy=Always"],
            ),
            "two containers cannot have one port of the host": (
                {f"{C}.ports": [{"containerPort": 80, "hostPort": 80}, {"containerPort": 81, "hostPort": 80}]},
                [f'{C}.ports[1].hostPort: Duplicate value: "TCP//80"'],
            ),
            "what cannot be shared is limited and requested alike": (
                {f"{C}.resources": {"requests": {"example.com/gpu": "1"}, "limits": {"example.com/gpu": "2"}}},
                [f'{C}.resources.requests: Invalid value: "1": must be equal to example.com/gpu limit of 2'],
            ),
            "a negative amount of memory": (
                {f"{C}.resources": {"requests": {"memory": "-1"}}},
                [f'{C}.resources.requests[memory]: Invalid value: "-1": must be greater than or equal to 0'],
            ),
            "variables come from one place": (
                {f"{C}.env": [{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}, "secretKeyRef": {"name": "a", "key": "b"}}}]},
                [f'{C}.env[0].valueFrom: Invalid value: "": may not have more than one field specified at a time'],
            ),
            "without a DNS policy there must be a DNS configuration": (
                {"spec.dnsPolicy": "None"},
                ["spec.dnsConfig: Required value: must provide `dnsConfig` when `dnsPolicy` is None"],
            ),
            "a pod with users of its own is not on the hosts network": (
                {"spec.hostUsers": False, "spec.hostNetwork": True},
                ["spec.hostNetwork: Forbidden: when `hostUsers` is false"],
            ),
            "debugging containers come later": (
                {"spec.ephemeralContainers": [{"name": "e", "image": "e"}]},
                ["spec.ephemeralContainers: Forbidden: cannot be set on create"],
            ),
            "a gated pod has no node": (
                {"spec.schedulingGates": [{"name": "a"}], "spec.nodeName": "n"},
                ["spec.nodeName: Forbidden: cannot be set until all schedulingGates have been cleared"],
            ),
            "only evictions wait": (
                {"spec.tolerations": [{"key": "a", "operator": "Exists", "effect": "NoSchedule", "tolerationSeconds": 5}]},
                ["spec.tolerations[0].effect: Invalid value: \"NoSchedule\": effect must be 'NoExecute' when `tolerationSeconds` is set"],
            ),
            "users have numbers from zero on": (
                {f"{C}.securityContext": {"runAsUser": -1}},
                [f"{C}.securityContext.runAsUser: Invalid value: -1: must be between 0 and 2147483647, inclusive"],
            ),
            "a windows pod has no user number": (
                {"spec.os": {"name": "windows"}, "spec.securityContext": {"runAsUser": 1}},
                ["spec.securityContext.runAsUser: Forbidden: cannot be set for a windows pod"],
            ),
            "a mirror pod is on a node": (
                {"metadata.annotations": {"kubernetes.io/config.mirror": "abc"}},
                ['metadata.annotations[kubernetes.io/config.mirror]: Invalid value: "abc": must set spec.nodeName if mirror pod annotation is set'],
            ),
            "all that is wrong is said at once, in the order of the fields": (
                {f"{C}.image": ABSENT, "spec.activeDeadlineSeconds": 0, "spec.restartPolicy": "Sometimes"},
                [
                    f"{C}.image: Required value",
                    'spec.restartPolicy: Unsupported value: "Sometimes": supported values: "Always", "OnFailure", "Never"',
                    "spec.activeDeadlineSeconds: Invalid value: 0: must be between 1 and 2147483647, inclusive",
                ],
            ),
        }
    ),
)
def test_a_pod_is_refused(changes: dict[str, Any], said: list[str]) -> None:
    assert problems(kinds.POD, changes) == said


def test_a_pod_with_everything_that_is_allowed_is_not_refused() -> None:
    changes = {
        "spec.initContainers": [{"name": "side", "image": "i", "restartPolicy": "Always", "readinessProbe": {"tcpSocket": {"port": 80}}}],
        "spec.volumes": [{"name": "v", "projected": {"sources": [{"serviceAccountToken": {"path": "t"}}, {"configMap": {"name": "c"}}]}}],
        f"{C}.volumeMounts": [{"name": "v", "mountPath": "/v", "subPath": "a/b"}],
        f"{C}.lifecycle": {"preStop": {"sleep": {"seconds": 3}}},
        f"{C}.securityContext": {"seccompProfile": {"type": "Localhost", "localhostProfile": "p.json"}},
        "spec.affinity": {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [{"topologyKey": "h", "labelSelector": {}}]}},
        "spec.tolerations": [{"operator": "Exists"}],
        "spec.hostAliases": [{"ip": "fd00::1", "hostnames": ["a.b"]}],
    }
    assert problems(kinds.POD, changes) == []


REFUSED = "spec: Forbidden: pod updates may not change fields other than `spec.containers[*].image`"


@pytest.mark.parametrize(
    ("changes", "said"),
    table(
        {
            "an image may change": ({f"{C}.image": "other"}, []),
            "a toleration may come": ({"spec.tolerations": [{"key": "a", "operator": "Exists"}]}, []),
            "a deadline may be set": ({"spec.activeDeadlineSeconds": 10}, []),
            "labels may change": ({"metadata.labels": {"a": "b"}}, []),
            "a command may not": ({f"{C}.command": ["a"]}, [REFUSED]),
            "nor the node": ({"spec.nodeName": "n"}, [REFUSED]),
            "nor the number of containers": (
                {"spec.containers[1]": {"name": "d", "image": "x"}},
                ["spec.containers: Forbidden: pod updates may not add or remove containers"],
            ),
        }
    ),
)
def test_little_of_a_pod_may_change(changes: dict[str, Any], said: list[str]) -> None:
    _, found = updated(kinds.POD, changes)
    assert [text.split("`,`")[0] + "`" if "`,`" in text else text for text in found] == said


def test_a_refused_update_shows_the_difference_as_upstream_prints_it() -> None:
    _, (found,) = updated(kinds.POD, {"spec.nodeName": "n"})
    assert found.endswith(
        """
  "NodeSelector": null,
  "ServiceAccountName": "",
  "AutomountServiceAccountToken": null,
- "NodeName": "",
+ "NodeName": "n",
  "SecurityContext": {
   "HostNetwork": false,
   "HostPID": false,
"""
    )


def test_a_gated_pod_may_be_told_where_to_go() -> None:
    gated = {"spec.schedulingGates": [{"name": "a"}]}
    assert updated(kinds.POD, {"spec.nodeSelector": {"a": "b"}}, gated)[1] == []
    assert updated(kinds.POD, {"spec.nodeSelector": {"a": "b"}})[1] != []


def test_only_a_change_of_the_spec_counts_a_generation() -> None:
    assert updated(kinds.POD, {f"{C}.image": "other"})[0]["metadata"]["generation"] == 2
    assert updated(kinds.POD, {"metadata.labels": {"a": "b"}})[0]["metadata"]["generation"] == 1


def test_a_status_update_changes_the_status_alone() -> None:
    changes = {"status": {"phase": "Running", "podIP": "10.1.1.1"}, f"{C}.image": "other"}
    pod, found = updated(kinds.POD, changes, subresource="status")
    assert found == []
    assert pod["spec"]["containers"][0]["image"] == "nginx"
    assert pod["status"] == {"phase": "Running", "podIP": "10.1.1.1", "podIPs": [{"ip": "10.1.1.1"}], "qosClass": "BestEffort"}


def test_the_quality_of_service_is_for_life() -> None:
    _, found = updated(kinds.POD, {"status.qosClass": "Guaranteed"}, subresource="status")
    assert found == ['status.qosClass: Invalid value: "Guaranteed": field is immutable']


def test_debugging_containers_are_added_by_their_own_door_and_nothing_else_is() -> None:
    added = {"spec.ephemeralContainers": [{"name": "e", "image": "e"}], f"{C}.image": "other"}
    pod, found = updated(kinds.POD, added, subresource="ephemeralcontainers")
    assert found == []
    assert [container["name"] for container in pod["spec"]["ephemeralContainers"]] == ["e"]
    assert pod["spec"]["containers"][0]["image"] == "nginx"


@pytest.mark.parametrize(
    ("changes", "asked", "grace_s"),
    table(
        {
            "a pod without a node goes at once": ({}, None, 0),
            "a finished pod goes at once": ({"spec.nodeName": "n", "status.phase": "Succeeded"}, 60, 0),
            "a running pod has the grace of its spec": ({"spec.nodeName": "n", "spec.terminationGracePeriodSeconds": 7}, None, 7),
            "who deletes may ask for another": ({"spec.nodeName": "n"}, 5, 5),
            "a negative grace is a second": ({"spec.nodeName": "n"}, -5, 1),
        }
    ),
)
def test_a_pod_is_given_time_to_end(changes: dict[str, Any], asked: int | None, grace_s: int) -> None:
    assert POD.grace_s(changed(created(kinds.POD), changes), asked) == grace_s


def test_every_selectable_field_is_always_there() -> None:
    assert POD.fields({}).keys() == POD.fields(created(kinds.POD)).keys()
    assert POD.fields(created(kinds.POD, {"spec.nodeName": "n"}))["spec.nodeName"] == "n"


@pytest.mark.parametrize(
    ("changes", "said"),
    table(
        {
            "an annotation that has no effect any more": (
                {"metadata.annotations": {"seccomp.security.alpha.kubernetes.io/pod": "runtime/default"}},
                ['metadata.annotations[seccomp.security.alpha.kubernetes.io/pod]: non-functional in v1.27+; use the "seccompProfile" field instead'],
            ),
            "a port said twice": (
                {f"{C}.ports": [{"containerPort": 80}, {"containerPort": 80}]},
                [f"{C}.ports[1]: duplicate port definition with {C}.ports[0]"],
            ),
            "a variable that hides another": (
                {f"{C}.env": [{"name": "A", "value": "1"}, {"name": "A", "value": "2"}]},
                [f'{C}.env[1]: hides previous definition of "A", which may be dropped when using apply'],
            ),
            "a variable built from its namesake is meant": ({f"{C}.env": [{"name": "A", "value": "1"}, {"name": "A", "value": "$(A)2"}]}, []),
            "a thousandth of a byte": (
                {f"{C}.resources": {"requests": {"memory": "100m"}}},
                [f'{C}.resources.requests[memory]: fractional byte value "100m" is invalid, must be an integer'],
            ),
        }
    ),
)
def test_a_pod_is_accepted_with_a_warning(changes: dict[str, Any], said: list[str]) -> None:
    assert list(POD.warnings(created(kinds.POD, changes), None)) == said
