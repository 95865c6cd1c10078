"""The printers of all kinds but pods: one row of each that has something to say."""

from datetime import UTC, datetime

import pytest

from edgek.model import kinds
from edgek.server.api import tables

NOW = datetime(2020, 1, 1, 0, 1, tzinfo=UTC)
AGE = "60s"
META = {"name": "x", "creationTimestamp": "2020-01-01T00:00:00Z"}
TEMPLATE = {"spec": {"containers": [{"name": "c", "image": "c:1"}, {"name": "d", "image": "d:2"}], "nodeSelector": {"a": "b"}}}
SELECTOR = {"matchExpressions": [{"key": "app", "operator": "In", "values": ["a", "b"]}]}
ROWS = [
    (kinds.CONFIG_MAP, {"data": {"a": "1"}, "binaryData": {"b": ""}}, ["x", 2, AGE]),
    (kinds.SECRET, {"type": "Opaque", "data": {"a": ""}}, ["x", "Opaque", 1, AGE]),
    (kinds.ROLE, {}, ["x", "2020-01-01T00:00:00Z"]),
    (kinds.SERVICE_ACCOUNT, {}, ["x", AGE]),
    (kinds.NAMESPACE, {"status": {"phase": "Active"}}, ["x", "Active", AGE]),
    (
        kinds.DEPLOYMENT,
        {"spec": {"replicas": 3, "template": TEMPLATE, "selector": SELECTOR}, "status": {"readyReplicas": 1, "updatedReplicas": 2}},
        ["x", "1/3", 2, 0, AGE, "c,d", "c:1,d:2", "app in (a,b)"],
    ),
    (
        kinds.DAEMON_SET,
        {"spec": {"template": TEMPLATE}, "status": {"desiredNumberScheduled": 3, "numberReady": 1}},
        ["x", 3, 0, 1, 0, 0, "a=b", AGE, "c,d", "c:1,d:2", "<none>"],
    ),
    (kinds.STATEFUL_SET, {"spec": {"replicas": 2, "template": TEMPLATE}}, ["x", "0/2", AGE, "c,d", "c:1,d:2"]),
    (
        kinds.JOB,
        {"spec": {"parallelism": 3, "template": TEMPLATE}, "status": {"startTime": "2020-01-01T00:00:30Z", "completionTime": "2020-01-01T00:00:40Z"}},
        ["x", "Running", "0/1 of 3", "10s", AGE, "c,d", "c:1,d:2", "<none>"],
    ),
    (
        kinds.CRON_JOB,
        {"spec": {"schedule": "@daily", "suspend": True}, "status": {"active": [{}], "lastScheduleTime": "2020-01-01T00:00:55Z"}},
        ["x", "@daily", "<none>", "True", 1, "5s", AGE, "", "", "<none>"],
    ),
    (
        kinds.HORIZONTAL_POD_AUTOSCALER,
        {
            "spec": {
                "scaleTargetRef": {"kind": "Deployment", "name": "d"},
                "minReplicas": 1,
                "maxReplicas": 3,
                "metrics": [
                    {"type": "Resource", "resource": {"name": "cpu", "target": {"averageUtilization": 80}}},
                    {"type": "Resource", "resource": {"name": "memory", "target": {"averageValue": "100Mi"}}},
                    {"type": "Pods", "pods": {"target": {"averageValue": "5"}}},
                ],
            },
            "status": {"currentReplicas": 2, "currentMetrics": [{"type": "Resource", "resource": {"current": {"averageUtilization": 20}}}]},
        },
        ["x", "Deployment/d", "cpu: 20%/80%, memory: <unknown>/100Mi + 1 more...", "1", 3, 2, AGE],
    ),
    (kinds.POD_DISRUPTION_BUDGET, {"spec": {"maxUnavailable": "30%"}}, ["x", "N/A", "30%", 0, AGE]),
    (
        kinds.CONTROLLER_REVISION,
        {"revision": 2, "metadata": {**META, "ownerReferences": [{"apiVersion": "apps/v1", "kind": "DaemonSet", "name": "d", "controller": True}]}},
        ["x", "daemonset.apps/d", 2, AGE],
    ),
    (
        kinds.SERVICE,
        {
            "spec": {"type": "LoadBalancer", "clusterIP": "10.0.0.1", "ports": [{"port": 80, "nodePort": 30080}], "selector": {"b": "2", "a": "1"}},
            "status": {"loadBalancer": {"ingress": [{"hostname": "a.b"}, {"ip": "1.2.3.4"}]}},
        },
        ["x", "LoadBalancer", "10.0.0.1", "1.2.3.4,a.b", "80:30080/TCP", AGE, "a=1,b=2"],
    ),
    (kinds.SERVICE, {"spec": {"type": "ExternalName", "externalName": "a.b"}}, ["x", "ExternalName", "<none>", "a.b", "<none>", AGE, "<none>"]),
    (
        kinds.ENDPOINTS,
        {"subsets": [{"addresses": [{"ip": "1.1.1.1"}, {"ip": "::1"}], "ports": [{"port": 80}, {"port": 81}]}]},
        ["x", "1.1.1.1:80,[::1]:80,1.1.1.1:81 + 1 more...", AGE],
    ),
    (kinds.ENDPOINT_SLICE, {"addressType": "IPv4", "endpoints": [{"addresses": ["1.1.1.1"]}]}, ["x", "IPv4", "<unset>", "1.1.1.1", AGE]),
    (kinds.INGRESS, {"spec": {"rules": [{}], "tls": [{}]}}, ["x", "<none>", "*", "", "80, 443", AGE]),
    (kinds.NETWORK_POLICY, {"spec": {}}, ["x", "<none>", AGE]),
    (
        kinds.NODE,
        {
            "metadata": {**META, "labels": {"node-role.kubernetes.io/b": "", "kubernetes.io/role": "a"}},
            "spec": {"unschedulable": True},
            "status": {
                "conditions": [{"type": "Ready", "status": "True"}],
                "addresses": [{"type": "InternalIP", "address": "10.0.0.1"}],
                "nodeInfo": {"kubeletVersion": "v1", "kernelVersion": "6", "architecture": "arm64"},
            },
        },
        ["x", "Ready,SchedulingDisabled", "a,b", AGE, "v1", "10.0.0.1", "<none>", "<unknown>", "6 (arm64)", "<unknown>"],
    ),
    (
        kinds.EVENT,
        {
            "involvedObject": {"kind": "Pod", "name": "p", "fieldPath": "f"},
            "source": {"component": "kubelet", "host": "n"},
            "type": "Normal",
            "reason": "R",
            "message": " m\n",
            "firstTimestamp": "2020-01-01T00:00:00Z",
            "lastTimestamp": "2020-01-01T00:00:50Z",
            "count": 4,
        },
        ["10s", "Normal", "R", "pod/p", "f", "kubelet, n", "m", AGE, 4, "x"],
    ),
    (
        kinds.EVENT_V1,
        {"regarding": {"kind": "Pod", "name": "p"}, "note": "m", "eventTime": "2020-01-01T00:00:58.000000Z", "reportingController": "c"},
        ["2s", "", "", "pod/p", "", "c", "m", "2s", 1, "x"],
    ),
    (
        kinds.PERSISTENT_VOLUME,
        {
            "spec": {"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteMany", "ReadWriteOnce"], "claimRef": {"namespace": "n", "name": "c"}},
            "status": {"phase": "Bound"},
        },
        ["x", "1Gi", "RWO,RWX", "", "Bound", "n/c", "", "<unset>", "", AGE, "<unset>"],
    ),
    (kinds.PERSISTENT_VOLUME_CLAIM, {"status": {"phase": "Pending"}}, ["x", "Pending", "", "", "", "", "<unset>", AGE, "<unset>"]),
    (
        kinds.STORAGE_CLASS,
        {"provisioner": "p", "metadata": {**META, "annotations": {"storageclass.kubernetes.io/is-default-class": "true"}}},
        ["x (default)", "p", "Delete", "Immediate", False, AGE],
    ),
    (
        kinds.ROLE_BINDING,
        {
            "roleRef": {"kind": "Role", "name": "r"},
            "subjects": [{"kind": "User", "name": "u"}, {"kind": "ServiceAccount", "namespace": "n", "name": "s"}],
        },
        ["x", "Role/r", AGE, "u", "", "n/s"],
    ),
    (
        kinds.RESOURCE_QUOTA,
        {"status": {"hard": {"pods": "4", "limits.cpu": "2"}, "used": {"pods": "1"}}},
        ["x", "pods: 1/4", "limits.cpu: 0/2", AGE],
    ),
    (
        kinds.CERTIFICATE_SIGNING_REQUEST,
        {
            "spec": {"signerName": "s", "username": "u", "expirationSeconds": 600},
            "status": {"conditions": [{"type": "Approved"}], "certificate": "x"},
        },
        ["x", AGE, "s", "u", "10m", "Approved,Issued"],
    ),
    (kinds.LEASE, {"spec": {"holderIdentity": "h"}}, ["x", "h", AGE]),
    (kinds.API_SERVICE, {"spec": {}, "status": {"conditions": [{"type": "Available", "status": "True"}]}}, ["x", "Local", "True", AGE]),
    (kinds.RESOURCE_CLAIM, {"status": {"allocation": {"a": 1}, "reservedFor": [{}]}}, ["x", "allocated,reserved", AGE]),
    (kinds.IP_ADDRESS, {"spec": {"parentRef": {"resource": "services", "namespace": "n", "name": "s"}}}, ["x", "services/n/s", AGE]),
]


@pytest.mark.parametrize(("kind", "obj", "cells"), ROWS, ids=[f"{kind.name}-{at}" for at, (kind, _, _) in enumerate(ROWS)])
def test_a_row_shows(kind, obj, cells):
    table = tables.table(kind, [{"metadata": META, **obj}], now=NOW)
    assert table["rows"][0]["cells"] == cells


@pytest.mark.parametrize("kind", tables.PRINTERS, ids=lambda kind: kind.resource)
def test_every_printer_copes_with_an_empty_object_and_fills_its_columns(kind):
    table = tables.table(kind, [{"metadata": {"name": "x"}}], now=NOW)
    extra = 1 if kind is kinds.IP_ADDRESS else 0  # upstream's printer has a cell more than columns
    assert len(table["rows"][0]["cells"]) == len(table["columnDefinitions"]) + extra
