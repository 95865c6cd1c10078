import gzip
import json

import pytest

from edgek.model import protobuf
from edgek.model.kinds import Kind, status
from edgek.server.api.openapi import KEPT_DOCUMENTS, V2_PROTOBUF, OpenApi
from edgek.server.api.routes import Registry

WIDGET = Kind("example.com", "v1", "Widget", "widgets", subresources=(status("Widget"),))
META = "io.k8s.apimachinery.pkg.apis.meta.v1"
APPS = "/openapi/v3/apis/apps/v1"


@pytest.fixture
def registry():
    return Registry()


@pytest.fixture
def openapi(registry):
    return OpenApi(registry, lambda kind: {"type": "object", "properties": {"spec": {"type": "object"}}} if kind is WIDGET else None)


def document(openapi, path=APPS):
    return json.loads(openapi.respond(path, {}).body)


def references(value):
    if isinstance(value, dict):
        yield from (member for name, member in value.items() if name == "$ref" and isinstance(member, str))
        for member in value.values():
            yield from references(member)
    elif isinstance(value, list):
        for item in value:
            yield from references(item)


def test_the_index_names_a_document_per_group_and_version(openapi):
    paths = document(openapi, "/openapi/v3")["paths"]
    assert paths["api/v1"]["serverRelativeURL"].startswith("/openapi/v3/api/v1?hash=")
    assert "apis/autoscaling/v2" in paths


def test_a_document_says_of_each_operation_which_kind_it_is_about(openapi):
    path = document(openapi)["paths"]["/apis/apps/v1/namespaces/{namespace}/deployments/{name}"]
    assert set(path) == {"get", "put", "patch", "delete", "parameters"}
    assert path["patch"]["x-kubernetes-group-version-kind"] == {"group": "apps", "version": "v1", "kind": "Deployment"}
    assert {parameter["name"] for parameter in path["patch"]["parameters"]} == {"dryRun", "fieldManager", "fieldValidation", "force"}


def test_a_subresource_is_about_its_own_kind(openapi):
    scale = document(openapi)["paths"]["/apis/apps/v1/namespaces/{namespace}/deployments/{name}/scale"]
    assert scale["get"]["x-kubernetes-group-version-kind"] == {"group": "autoscaling", "version": "v1", "kind": "Scale"}


@pytest.mark.parametrize(
    ("path", "where"), [(APPS, ("components", "schemas")), ("/openapi/v3/api/v1", ("components", "schemas")), ("/openapi/v2", ("definitions",))]
)
def test_every_reference_leads_somewhere(openapi, path, where):
    found = document(openapi, path)
    schemas = found
    for member in where:
        schemas = schemas[member]
    assert {reference.rpartition("/")[2] for reference in references(found)} <= set(schemas)


def test_options_belong_to_the_documents_own_group(openapi):
    options = document(openapi)["components"]["schemas"][f"{META}.DeleteOptions"]
    assert [gvk["group"] for gvk in options["x-kubernetes-group-version-kind"]] == ["", "apps"]


def test_a_custom_kind_appears_with_its_schema_and_changes_its_hash_only(openapi, registry):
    before = document(openapi, "/openapi/v3")["paths"]
    registry.add(WIDGET)
    after = document(openapi, "/openapi/v3")["paths"]
    assert set(after) - set(before) == {"apis/example.com/v1"}
    assert all(after[name] == before[name] for name in before)
    schema = document(openapi, "/openapi/v3/apis/example.com/v1")["components"]["schemas"]["com.example.v1.Widget"]
    assert set(schema["properties"]) == {"apiVersion", "kind", "metadata", "spec"}


def test_clients_that_have_the_document_are_told_so_and_others_get_it_compressed(openapi):
    answer = openapi.respond(APPS, {"accept-encoding": "gzip"})
    assert answer.headers["content-encoding"] == "gzip"
    assert json.loads(gzip.decompress(answer.body)) == document(openapi)
    again = openapi.respond(APPS, {"if-none-match": answer.headers["etag"]})
    assert (again.status, again.body) == (304, b"")


def test_few_documents_are_kept(openapi, registry):
    for kind in registry.all():
        openapi.respond(f"/openapi/v3/apis/{kind.group}/{kind.version}", {})
    assert len(openapi._kept) == KEPT_DOCUMENTS


def test_unknown_documents_are_not_found_and_other_paths_not_ours(openapi):
    assert openapi.respond("/openapi/v3/apis/none/v1", {}).status == 404
    assert openapi.respond("/openapi/v1", {}) is None


def test_version_two_has_references_alone_and_quantities_as_strings(openapi):
    definitions = document(openapi, "/openapi/v2")["definitions"]
    assert definitions["io.k8s.apimachinery.pkg.util.intstr.IntOrString"] == {"type": "string", "format": "int-or-string"}
    spec = definitions["io.k8s.api.apps.v1.Deployment"]["properties"]["spec"]
    assert (spec["$ref"], "allOf" in spec) == ("#/definitions/io.k8s.api.apps.v1.DeploymentSpec", False)


def test_version_two_comes_as_protobuf_too(openapi):
    answer = openapi.respond("/openapi/v2", {"accept": "application/com.github.proto-openapi.spec.v2@v1.0+protobuf"})
    assert answer.headers["content-type"] == V2_PROTOBUF
    members = {number: value for number, _, value in protobuf.fields(answer.body)}
    assert members[1] == b"2.0"
    names = {next(protobuf.fields(entry))[2] for _, _, entry in protobuf.fields(members[9])}
    assert b"io.k8s.api.core.v1.Pod" in names


def test_texts_for_explain_are_shown_where_they_were_built_in(openapi, monkeypatch):
    texts = {"apps/v1.Deployment": b'{"":"What it is.","spec":"What is wanted."}'}
    monkeypatch.setattr("edgek.model.packed.descriptions", lambda: texts)
    monkeypatch.setattr("edgek.model.packed.has_descriptions", lambda: True)
    schema = document(openapi)["components"]["schemas"]["io.k8s.api.apps.v1.Deployment"]
    assert schema["description"] == "What it is."
    assert schema["properties"]["spec"]["description"] == "What is wanted."
