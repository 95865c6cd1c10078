import pytest

from edgek.model import kinds, schema
from edgek.server.api import protobufanswer, wire

META = {"name": "x", "creationTimestamp": "2020-01-01T00:00:00Z", "labels": {"a": "b"}, "generation": 3}
OBJECTS = [
    (
        kinds.POD,
        {
            "metadata": META,
            "spec": {
                "containers": [
                    {
                        "name": "c",
                        "image": "i",
                        "command": ["a", "b"],
                        "ports": [{"containerPort": 80, "protocol": "TCP"}],
                        "resources": {"limits": {"cpu": "100m"}},
                        "livenessProbe": {"httpGet": {"path": "/", "port": "web"}, "timeoutSeconds": 1},
                        "readinessProbe": {"tcpSocket": {"port": 80}},
                        "securityContext": {"runAsUser": 0, "privileged": False},
                    }
                ],
                "volumes": [{"name": "v", "emptyDir": {}}, {"name": "w", "configMap": {"name": "c", "defaultMode": 420}}],
                "tolerations": [{"key": "a", "tolerationSeconds": -1}],
                "terminationGracePeriodSeconds": 0,
            },
            "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": "1969-12-31T23:59:59Z"}]},
        },
    ),
    (kinds.SECRET, {"metadata": META, "data": {"a": "AP8="}, "type": "Opaque", "immutable": False}),
    (kinds.LEASE, {"metadata": META, "spec": {"renewTime": "2020-01-01T00:00:00.123456Z"}}),
    (kinds.CONTROLLER_REVISION, {"metadata": META, "data": {"spec": {"a": [1, None]}}, "revision": 7}),
    (
        kinds.CUSTOM_RESOURCE_DEFINITION,
        {
            "metadata": META,
            "spec": {
                "versions": [
                    {
                        "name": "v1",
                        "schema": {
                            "openAPIV3Schema": {
                                "type": "object",
                                "properties": {"a": {"type": "array", "items": {"type": "string"}, "default": ["x"]}},
                                "additionalProperties": {"type": "number", "maximum": 1.5},
                                "enum": [1, "x"],
                                "dependencies": {"a": ["b"]},
                            }
                        },
                    }
                ]
            },
        },
    ),
]


@pytest.mark.parametrize(("kind", "obj"), OBJECTS, ids=[kind.name for kind, _ in OBJECTS])
def test_what_is_sealed_opens_as_the_same_object(kind, obj):
    obj = {"apiVersion": kind.api_version, "kind": kind.name, **obj}
    assert schema.type_problem(kind, obj) is None
    schema.normalise(kind, obj)
    sent = protobufanswer.sealed(obj)
    opened, _ = wire.decode_body(wire.PROTOBUF, sent, kind)
    schema.normalise(kind, opened)
    assert opened == obj


def test_a_list_can_be_sealed_and_a_custom_resource_cannot():
    assert protobufanswer.sealed({"apiVersion": "v1", "kind": "PodList", "items": [{"metadata": {"name": "x"}}]}).startswith(b"k8s\0")
    assert protobufanswer.sealed({"apiVersion": "example.com/v1", "kind": "Widget"}) is None
