import pytest

from edgek.model import kinds, protobuf, schema
from edgek.model.errors import BadRequest, UnsupportedMediaType
from edgek.model.kinds import Kind
from edgek.server.api import wire

WIDGET = Kind("example.com", "v1", "Widget", "widgets")


def decode(raw, kind=kinds.CONFIG_MAP, content_type=""):
    return wire.decode_body(content_type, raw if isinstance(raw, bytes) else raw.encode(), kind)


def refusal(*args, **kwargs):
    with pytest.raises(BadRequest) as caught:
        decode(*args, **kwargs)
    return caught.value.message


def test_a_body_need_not_say_what_the_path_says():
    assert decode('{"metadata":{"name":"x"}}') == ({"metadata": {"name": "x"}, "apiVersion": "v1", "kind": "ConfigMap"}, [])


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        ("", "couldn't get version/kind; json parse error: unexpected end of JSON input (<empty>)"),
        (
            "{not json",
            "couldn't get version/kind; json parse error: invalid character 'n' looking for beginning of object key string ({not json)",
        ),
        (
            '{"apiVersion":"v1","kind":"ConfigMap"} x',
            'couldn\'t get version/kind; json parse error: invalid character \'x\' after top-level value ({"apiVersion":"v1","kind":"Con ...)',
        ),
        (
            '"x"',
            "couldn't get version/kind; json parse error: json: cannot unmarshal string into Go value of type struct { APIVersion string "
            '"json:\\"apiVersion,omitempty\\""; Kind string "json:\\"kind,omitempty\\"" } (227822)',
        ),
        ('{"apiVersion":"a/b/c"}', 'unexpected GroupVersion string: a/b/c ({"apiVersion":"a/b/c"})'),
    ],
)
def test_what_cannot_be_recognised_is_refused_with_a_piece_of_it(raw, why):
    assert refusal(raw) == f"the object provided is unrecognized (must be of type ConfigMap): {why}"


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (
            '{"apiVersion":"v1","kind":"Secret"}',
            'Secret in version "v1" cannot be handled as a ConfigMap: converting (v1.Secret) to (core.ConfigMap): unknown conversion',
        ),
        (
            '{"apiVersion":"apps/v1","kind":"ConfigMap"}',
            'ConfigMap in version "v1" cannot be handled as a ConfigMap: no kind "ConfigMap" is registered for version "apps/v1" in scheme '
            '"pkg/runtime/scheme.go:111"',
        ),
    ],
)
def test_an_object_of_another_kind_is_refused(raw, message):
    assert refusal(raw) == message


def test_another_version_of_the_kind_is_refused():
    message = "the API version in the data (autoscaling/v1) does not match the expected API version (autoscaling/v2)"
    assert refusal('{"apiVersion":"autoscaling/v1","kind":"HorizontalPodAutoscaler"}', kinds.HORIZONTAL_POD_AUTOSCALER) == message


def test_options_may_name_any_group():
    options = Kind("", "v1", "DeleteOptions", "")
    assert decode('{"apiVersion":"apps/v1","kind":"DeleteOptions","gracePeriodSeconds":0}', options)[0]["gracePeriodSeconds"] == 0


def test_a_custom_resource_must_say_its_kind_and_cannot_come_as_protobuf():
    assert "Object 'Kind' is missing in '{\"metadata\":{}}'" in refusal('{"metadata":{}}', WIDGET)
    with pytest.raises(UnsupportedMediaType, match=r"accepted media types include: application/json, application/yaml$"):
        decode(b"k8s\0", WIDGET, "application/vnd.kubernetes.protobuf")


def test_an_unknown_content_type_is_refused_and_its_parameters_do_not_count():
    with pytest.raises(UnsupportedMediaType, match=r"application/json, application/yaml, application/vnd.kubernetes.protobuf"):
        decode("{}", content_type="text/plain")
    assert decode("{}", content_type="application/json; charset=utf-8")[0]["kind"] == "ConfigMap"


def test_fields_that_come_twice_are_found_and_the_last_one_counts():
    obj, duplicates = decode('{"metadata":{"name":"x","name":"y"},"data":{"a":"1","b":"\\":","a":"2"}}')
    assert duplicates == ["metadata.name", "data.a"]
    assert obj["metadata"]["name"] == "y"
    assert obj["data"] == {"b": '":', "a": "2"}
    assert schema.decode_problems(kinds.CONFIG_MAP, obj, duplicates) == ['duplicate field "metadata.name"', 'duplicate field "data.a"']


def test_everything_wrong_with_an_object_is_told_in_the_order_in_which_it_occurs():
    raw = """{"metadata": {"name": "x"}, "spec": {"unknown1": "val1", "unknownDupe": "a", "unknownDupe": "b", "paused": true, "paused": false,
      "template": {"spec": {"containers": [{"name": "c", "unknownNested": 1, "imagePullPolicy": "Always", "imagePullPolicy": "Never"}]}}}}"""
    obj, duplicates = decode(raw, kinds.DEPLOYMENT)
    assert schema.strict_error(schema.decode_problems(kinds.DEPLOYMENT, obj, duplicates)) == (
        'strict decoding error: unknown field "spec.unknown1", unknown field "spec.unknownDupe", duplicate field "spec.paused", '
        'unknown field "spec.template.spec.containers[0].unknownNested", '
        'duplicate field "spec.template.spec.containers[0].imagePullPolicy"'
    )


def test_yaml_is_read_as_go_reads_it():
    raw = "data:\n  a: 0755\n  b: 12:30\n  c: yes\n  d: 1e3\n  e: 2020-01-01\n  f: ~\n  g: 'on'\n  1: x\n  h: 0x10\n  i: 1_000\n  j: 08\n"
    assert decode(raw, content_type="application/yaml")[0]["data"] == {
        "a": 493,
        "b": "12:30",
        "c": True,
        "d": 1000.0,
        "e": "2020-01-01",
        "f": None,
        "g": "on",
        "1": "x",
        "h": 16,
        "i": 1000,
        "j": 8.0,
    }


def test_yaml_tells_keys_that_are_set_twice_by_their_line():
    obj, duplicates = decode("data:\n  a: one\n  a: two\n", content_type="application/yaml")
    assert (obj["data"], duplicates) == ({"a": "two"}, ['line 3: key "a" already set in map'])


def test_yaml_anchors_and_merges_work():
    raw = "data: &d {a: x, b: y}\nbinaryData: {<<: *d, b: z}\n"
    assert decode(raw, content_type="application/yaml")[0]["binaryData"] == {"a": "x", "b": "z"}


def test_broken_yaml_is_refused_with_its_line():
    why = refusal("apiVersion: v1\nkind: ConfigMap\n\tmetadata: x\n", content_type="application/yaml")
    assert "yaml: line 3: found a tab character that violates indentation (61706956657273696f6e" in why


F, V, M = protobuf.bytes_field, protobuf.varint_field, protobuf.map_field


def envelope(api_version, kind, message):
    return b"k8s\0" + F(1, F(1, api_version) + F(2, kind)) + F(2, message) + F(3, "") + F(4, "")


def test_a_protobuf_body_becomes_what_its_json_twin_would():
    container = F(1, "c") + F(2, "") + F(6, V(3, 80) + F(4, "")) + F(8, F(1, F(1, "cpu") + F(2, F(1, "100m"))))
    probe = F(1, F(2, F(1, "/") + F(2, V(1, 1) + F(3, "web")))) + V(3, 5)
    volume = F(1, "v") + F(2, F(2, b""))
    spec = F(1, volume) + F(2, container + F(10, probe)) + V(4, 0) + M(7, "disk", "ssd")
    meta = F(1, "x") + F(8, V(1, 0) + V(2, 0)) + M(11, "app", "a")
    raw = envelope("v1", "Pod", F(1, meta) + F(2, spec))
    assert decode(raw, kinds.POD, wire.PROTOBUF)[0] == {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "x", "creationTimestamp": "1970-01-01T00:00:00Z", "labels": {"app": "a"}},
        "spec": {
            "volumes": [{"name": "v", "emptyDir": {}}],
            "containers": [
                {
                    "name": "c",
                    "ports": [{"containerPort": 80}],
                    "resources": {"limits": {"cpu": "100m"}},
                    "livenessProbe": {"httpGet": {"path": "/", "port": "web"}, "timeoutSeconds": 5},
                }
            ],
            "terminationGracePeriodSeconds": 0,
            "nodeSelector": {"disk": "ssd"},
        },
    }


def test_a_time_that_was_never_set_is_left_out():
    assert decode(envelope("v1", "ConfigMap", F(1, F(8, b""))), kinds.CONFIG_MAP, wire.PROTOBUF)[0]["metadata"] == {}


def test_an_early_year_keeps_its_four_digits():
    start = F(4, V(1, (1 << 64) - 62135596800) + V(2, 0))  # 0001-01-01, as upstream's own lease test sends it
    raw = envelope("coordination.k8s.io/v1", "Lease", F(2, start))
    assert decode(raw, kinds.LEASE, wire.PROTOBUF)[0]["spec"] == {"renewTime": "0001-01-01T00:00:00.000000Z"}


def test_unknown_protobuf_fields_are_ignored_and_a_torn_message_is_refused():
    assert "data" not in decode(envelope("v1", "ConfigMap", F(99, "x")), kinds.CONFIG_MAP, wire.PROTOBUF)[0]
    message = refusal(envelope("v1", "ConfigMap", b"\x0a\x7f"), kinds.CONFIG_MAP, wire.PROTOBUF)
    assert message == 'ConfigMap in version "v1" cannot be handled as a ConfigMap: unexpected EOF'


def test_what_is_no_envelope_is_refused():
    assert "does not appear to be a protobuf message" in refusal(b"{}", kinds.CONFIG_MAP, wire.PROTOBUF)


def test_secrets_and_webhooks_carry_bytes_as_base64():
    raw = envelope("v1", "Secret", F(2, F(1, "a") + F(2, b"\x00\xff")))
    assert decode(raw, kinds.SECRET, wire.PROTOBUF)[0]["data"] == {"a": "AP8="}


DEEP = 100_000


@pytest.mark.parametrize(
    ("content_type", "raw"),
    [
        ("application/json", '{"data":' + '{"a":' * 500 + "1" + "}" * 501),
        ("application/json", '{"data":' + "[" * DEEP),
        ("application/yaml", "data: " + "[" * 2000 + "]" * 2000),
        ("application/vnd.kubernetes.protobuf", None),
    ],
)
def test_a_body_that_is_nested_too_deep_is_refused(content_type, raw):
    kind = kinds.CONFIG_MAP
    if raw is None:
        kind, message = kinds.CUSTOM_RESOURCE_DEFINITION, b""
        for _ in range(1000):
            message = F(28, message)
        raw = envelope("apiextensions.k8s.io/v1", kind.name, F(2, F(7, F(4, F(1, message)))))
    assert refusal(raw, kind, content_type)


def test_yaml_cannot_be_blown_up_by_aliases():
    lines = ["a: &a [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"{name}: &{name} [{', '.join(['*' + before] * 10)}]" for before, name in zip("abcdefgh", "bcdefghi", strict=True)]
    assert "excessive aliasing" in refusal("\n".join(lines), content_type="application/yaml")


def test_what_yaml_aliases_share_is_not_shared_afterwards():
    obj, _ = decode("data: &d {a: x}\nbinaryData: *d\n", content_type="application/yaml")
    assert obj["data"] == obj["binaryData"]
    assert obj["data"] is not obj["binaryData"]


def test_python_numbers_that_are_not_json_are_refused():
    with pytest.raises(ValueError, match="NaN is not JSON"):
        wire.find_duplicates(b'{"a": NaN}')
    assert wire.find_duplicates(b'{"a": 123456789012345678901234567890, "b": -9223372036854775808}')[0] == {"a": 1.2345678901234568e29, "b": -(2**63)}
