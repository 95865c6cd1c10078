"""The packers: scripts beside the package, so they are loaded by their path."""

import importlib.util
import zipfile
import zlib
from pathlib import Path

import pytest

PACKAGING = Path(__file__).parents[2] / "packaging"


def load(name):
    spec = importlib.util.spec_from_file_location(name, PACKAGING / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def pack_data():
    return load("pack_data")


def test_fields_learn_from_the_schema_what_protobuf_does_not_know(pack_data):
    messages = {
        "core/v1.A": [[1, "ports", "[]core/v1.B", 2], [2, None, "core/v1.C", 0], [3, "count", "int", 3]],
        "core/v1.B": [[1, "protocol", "string", 2], [2, "endpoint", "core/v1.Hint", 3]],
        "core/v1.C": [[1, "size", "int", 2]],
        "core/v1.Hint": [],
    }
    schemas = {
        "io.k8s.api.core.v1.A": {
            "properties": {
                "ports": {"x-kubernetes-patch-merge-key": "port", "x-kubernetes-patch-strategy": "merge"},
                "size": {"format": "int64"},
                "count": {"format": "int32"},
            },
            "x-kubernetes-group-version-kind": [{}],
            "x-kubernetes-map-type": "atomic",
        },
        "io.k8s.api.core.v1.B": {"properties": {"protocol": {"default": "TCP"}}},
    }
    types = pack_data.pack_types(schemas, messages)
    assert types["core/v1.A"] == [
        [1, "ports", "[]core/v1.B", 2, {"k": "port", "s": "merge"}],
        [2, None, "core/v1.C", 0],
        [3, "count", "int32", 3],
        [0, "", "", 0, {"t": "atomic", "g": 1}],
    ]
    assert types["core/v1.C"] == [[1, "size", "int64", 2]]
    assert types["core/v1.B"] == [[1, "protocol", "string", 2, {"d": "TCP"}], [2, "endpoint", "core/v1.Hint", 3]]


MODULE = '''
class Thing:
    r"""A thing that
      is described.

      **parameters**

      * **name** ``str`` - The name. It
        goes on.
      * **_ref** ``Optional[str]`` - What it refers to.
    """
'''


def test_descriptions_are_read_off_docstrings(tmp_path):
    wheel = tmp_path / "lightkube_models.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("lightkube/models/core_v1.py", MODULE)
        archive.writestr("lightkube/models/core_v1alpha1.py", MODULE)
    load("pack_descriptions").main(wheel, tmp_path)
    packed = zlib.decompress((tmp_path / "descriptions.z").read_bytes()).decode()
    assert packed == 'core/v1.Thing\t{"":"A thing that is described.","name":"The name. It goes on.","ref":"What it refers to."}\n'
