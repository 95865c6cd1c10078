import copy

import pytest

from edgek.model import kinds, schema
from edgek.model.kinds import Kind

WIDGET = Kind("example.com", "v1", "Widget", "widgets")


def deployment(**pod_spec):
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "x"},
        "spec": {"selector": {"matchLabels": {"app": "a"}}, "template": {"metadata": {"labels": {"app": "a"}}, "spec": pod_spec}},
    }


def normal(kind, obj):
    schema.normalise(kind, obj)
    return obj


WHERE = "json: cannot unmarshal {} into Go struct field {} of type {}"


@pytest.mark.parametrize(
    ("pod_spec", "problem"),
    [
        ({"containers": {"name": "c"}}, ("object", "PodSpec.spec.template.spec.containers", "[]v1.Container")),
        ({"containers": ["c"]}, ("string", "PodSpec.spec.template.spec.containers", "v1.Container")),
        ({"containers": [{"command": "sh"}]}, ("string", "Container.spec.template.spec.containers.command", "[]string")),
        ({"containers": [{"env": [{"value": 1}]}]}, ("number", "EnvVar.spec.template.spec.containers.env.value", "string")),
        (
            {"containers": [{"ports": [{"containerPort": "80"}]}]},
            ("string", "ContainerPort.spec.template.spec.containers.ports.containerPort", "int32"),
        ),
        ({"activeDeadlineSeconds": 1.5}, ("number 1.5", "PodSpec.spec.template.spec.activeDeadlineSeconds", "int64")),
        ({"hostNetwork": "true"}, ("string", "PodSpec.spec.template.spec.hostNetwork", "bool")),
        ({"nodeSelector": ["a"]}, ("array", "PodSpec.spec.template.spec.nodeSelector", "map[string]string")),
    ],
)
def test_a_wrong_type_is_told_as_go_tells_it(pod_spec, problem):
    assert schema.type_problem(kinds.DEPLOYMENT, deployment(**pod_spec)) == WHERE.format(*problem)


def test_an_integer_must_fit_its_width():
    obj = {"spec": {"replicas": 2**31}}
    assert schema.type_problem(kinds.DEPLOYMENT, obj) == WHERE.format("number 2147483648", "DeploymentSpec.spec.replicas", "int32")


def test_bad_quantities_times_and_bytes_are_told_as_their_parsers_tell_it():
    pod = {"spec": {"containers": [{"resources": {"limits": {"cpu": "one"}}}]}}
    assert schema.type_problem(kinds.POD, pod).startswith("quantities must match the regular expression")
    lease = {"spec": {"renewTime": "yesterday"}}
    assert schema.type_problem(kinds.LEASE, lease) == (
        'parsing time "yesterday" as "2006-01-02T15:04:05.000000Z07:00": cannot parse "yesterday" as "2006"'
    )
    assert schema.type_problem(kinds.SECRET, {"data": {"a": "YQ=!"}}) == "illegal base64 data at input byte 2"


def test_what_fits_has_no_problem_and_null_always_fits():
    assert schema.type_problem(kinds.DEPLOYMENT, deployment(containers=None, volumes=[])) is None


def test_unknown_fields_are_named_with_their_path():
    obj = deployment(alsoNope=2, containers=[{"name": "c", "what": 3}])
    obj["nope"] = obj["metadata"]["nope"] = obj["spec"]["Replicas"] = 1
    assert set(schema.decode_problems(kinds.DEPLOYMENT, obj)) == {
        'unknown field "nope"',
        'unknown field "metadata.nope"',
        'unknown field "spec.Replicas"',
        'unknown field "spec.template.spec.alsoNope"',
        'unknown field "spec.template.spec.containers[0].what"',
    }


def test_duplicates_stand_among_the_unknown_fields_in_order_of_occurrence():
    obj = {"metadata": {"name": "x"}, "spec": {"nope": 1, "replicas": 1}, "data": {}}
    duplicates = ["spec.replicas", "metadata.name", "spec.nope"]
    assert schema.decode_problems(kinds.DEPLOYMENT, obj, duplicates) == [
        'duplicate field "metadata.name"',
        'unknown field "spec.nope"',
        'duplicate field "spec.replicas"',
        'unknown field "data"',
    ]


def test_a_yaml_document_tells_its_duplicates_by_line():
    problems = schema.decode_problems(kinds.DEPLOYMENT, {"spec": {"nope": 1}}, ['line 6: key "paused" already set in map'])
    assert problems == ['line 6: key "paused" already set in map', 'unknown field "spec.nope"']
    assert schema.strict_error(problems) == (
        'strict decoding error: yaml: unmarshal errors:\n  line 6: key "paused" already set in map, unknown field "spec.nope"'
    )


def test_a_custom_resource_is_free_beside_its_metadata():
    obj = {"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": "x", "nope": 1}, "spec": {"any": [None]}}
    assert schema.decode_problems(WIDGET, obj, ["spec.any"]) == ['unknown field "metadata.nope"', 'duplicate field "spec.any"']
    assert normal(WIDGET, obj) == {"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": "x"}, "spec": {"any": [None]}}


def test_an_object_prints_as_go_would_print_it():
    pod = normal(
        kinds.POD,
        {
            "metadata": {"name": "x", "creationTimestamp": None, "labels": {}, "finalizers": []},
            "spec": {
                "containers": [{"name": "c", "image": "", "resources": {"limits": {"memory": "1024Mi", "cpu": 0.5}}, "nope": 1}],
                "volumes": [{"name": "v", "emptyDir": {}}],
                "terminationGracePeriodSeconds": 0,
                "hostNetwork": False,
                "securityContext": None,
            },
            "status": {"conditions": [{"type": "Ready", "status": "True"}]},
        },
    )
    assert pod == {
        "metadata": {"name": "x"},
        "spec": {
            "containers": [{"name": "c", "resources": {"limits": {"memory": "1Gi", "cpu": "500m"}}}],
            "volumes": [{"name": "v", "emptyDir": {}}],
            "terminationGracePeriodSeconds": 0,
        },
        "status": {"conditions": [{"type": "Ready", "status": "True", "lastProbeTime": None, "lastTransitionTime": None}]},
    }


def test_structs_by_value_and_fields_without_omitempty_are_always_there():
    assert normal(kinds.DEPLOYMENT, {"spec": {"template": {}}})["spec"] == {
        "selector": None,
        "strategy": {},
        "template": {"metadata": {}, "spec": {"containers": None}},
    }
    assert normal(kinds.ROLE, {"rules": []})["rules"] is None


def test_times_are_brought_to_utc_and_cut():
    pod = normal(kinds.POD, {"status": {"startTime": "2020-01-01T01:00:00.9+01:00"}})
    assert pod["status"]["startTime"] == "2020-01-01T00:00:00Z"


def test_the_schema_of_a_custom_resource_may_be_a_list_a_bool_or_a_schema():
    crd = {"spec": {"versions": [{"schema": {"openAPIV3Schema": {"items": {"type": "string", "nope": 1}, "additionalProperties": False}}}]}}
    assert schema.type_problem(kinds.CUSTOM_RESOURCE_DEFINITION, crd) is None
    assert schema.decode_problems(kinds.CUSTOM_RESOURCE_DEFINITION, crd) == ['unknown field "spec.versions[0].schema.openAPIV3Schema.items.nope"']
    normal(kinds.CUSTOM_RESOURCE_DEFINITION, crd)
    assert crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"] == {"items": {"type": "string"}, "additionalProperties": False}


def test_normalising_twice_changes_nothing():
    once = normal(kinds.DEPLOYMENT, deployment(containers=[{"name": "c"}]))
    assert normal(kinds.DEPLOYMENT, copy.deepcopy(once)) == once


def test_ports_speak_tcp_unless_told_otherwise():
    service = {"spec": {"ports": [{"port": 53, "protocol": "UDP"}, {"port": 80}]}}
    schema.apply_defaults(kinds.SERVICE, service)
    assert [port["protocol"] for port in service["spec"]["ports"]] == ["UDP", "TCP"]
