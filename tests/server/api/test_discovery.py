import json

import attrs
import pytest

from edgek.model import errors, kinds
from edgek.model.kinds import Kind, status
from edgek.server.api.discovery import AGGREGATED_TYPE, Discovery, sorted_versions
from edgek.server.api.routes import Registry

KUBECTL = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,application/json"
OLDER_KUBECTL = "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,application/json"
WIDGET = Kind("example.com", "v1", "Widget", "widgets", subresources=(status("Widget"),))


@pytest.fixture
def registry():
    return Registry()


@pytest.fixture
def ask(registry):
    discovery = Discovery(registry)

    def respond(path, accept="application/json", if_none_match=""):
        answer = discovery.respond(path, accept, if_none_match)
        assert answer is not None
        return answer, json.loads(answer.body) if answer.body else None

    return respond


def test_a_group_version_lists_its_resources_and_their_subresources(ask):
    _, found = ask("/apis/apps/v1")
    assert (found["kind"], found["apiVersion"], found["groupVersion"]) == ("APIResourceList", "v1", "apps/v1")
    by_name = {resource["name"]: resource for resource in found["resources"]}
    assert by_name["deployments"]["shortNames"] == ["deploy"]
    scale = by_name["deployments/scale"]
    assert (scale["singularName"], scale["group"], scale["version"], scale["kind"]) == ("", "autoscaling", "v1", "Scale")


def test_the_core_group_is_shown_by_the_slash_too(ask):
    assert ask("/api/v1")[1] == ask("/api/v1/")[1]
    assert ask("/api")[1]["versions"] == ["v1"]


def test_groups_are_listed_in_their_order_with_the_preferred_version_first(ask):
    groups = ask("/apis")[1]["groups"]
    assert [group["name"] for group in groups] == [name for name, _ in kinds.GROUPS]
    autoscaling = ask("/apis/autoscaling")[1]
    assert [version["version"] for version in autoscaling["versions"]] == ["v2", "v1"]
    assert autoscaling["preferredVersion"]["groupVersion"] == "autoscaling/v2"


def test_the_aggregated_form_is_given_to_those_who_ask_for_its_version(ask):
    answer, found = ask("/apis", KUBECTL)
    assert answer.headers["content-type"] == AGGREGATED_TYPE
    assert (found["apiVersion"], found["items"][1]["metadata"]["name"]) == ("apidiscovery.k8s.io/v2", "apps")
    answer, found = ask("/apis", OLDER_KUBECTL)
    assert (answer.headers["content-type"], found["kind"]) == ("application/json", "APIGroupList")


def test_the_aggregated_form_shows_only_the_core_below_api(ask):
    (core,) = ask("/api", KUBECTL)[1]["items"]
    assert core["metadata"] == {}
    pods = next(resource for resource in core["versions"][0]["resources"] if resource["resource"] == "pods")
    assert {"group": "policy", "version": "v1", "kind": "Eviction"} in [sub["responseKind"] for sub in pods["subresources"]]


def test_a_client_that_has_the_document_already_is_told_so(ask):
    answer, _ = ask("/apis", KUBECTL)
    again, body = ask("/apis", KUBECTL, answer.headers["etag"])
    assert (again.status, body, again.headers["vary"]) == (304, None, "Accept")


def test_a_new_kind_is_shown_at_once_and_changes_the_etag(ask, registry):
    before = ask("/apis", KUBECTL)[0].headers["etag"]
    registry.add(WIDGET)
    answer, found = ask("/apis", KUBECTL, before)
    assert answer.status == 200
    (version,) = found["items"][-1]["versions"]
    assert version["resources"][0]["responseKind"] == {"group": "example.com", "version": "v1", "kind": "Widget"}
    registry.add(attrs.evolve(WIDGET, version="v1beta1"))
    assert [v["version"] for v in ask("/apis/example.com")[1]["versions"]] == ["v1", "v1beta1"]


def test_other_paths_are_not_discovery(registry):
    discovery = Discovery(registry)
    for path in ("/", "/version", "/apis/none", "/apis/apps/v9", "/api/v9", "/api/v1/pods", "/apis/apps/v1/deployments"):
        assert discovery.respond(path, "application/json") is None


def test_a_shape_that_nobody_knows_is_refused(registry):
    with pytest.raises(errors.NotAcceptable):
        Discovery(registry).respond("/apis/apps/v1", "text/html")


def test_versions_of_others_are_sorted_by_stability_then_number():
    versions = {"v1", "v2", "v1beta1", "v1beta2", "v1alpha1", "foo", "v10"}
    assert sorted_versions("example.com", versions) == ["v10", "v2", "v1", "v1beta2", "v1beta1", "v1alpha1", "foo"]
