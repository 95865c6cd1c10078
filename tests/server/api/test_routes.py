import pytest

from edgek.model import kinds
from edgek.server.api.routes import Registry, Route, parse, verb


@pytest.mark.parametrize(
    ("path", "wanted"),
    [
        pytest.param("/api/v1/pods", Route("", "v1", "pods"), id="a collection of all namespaces"),
        pytest.param("/api/v1/namespaces/n/pods/x", Route("", "v1", "pods", "n", "x"), id="an object"),
        pytest.param("/api/v1/namespaces/n/pods/x/log", Route("", "v1", "pods", "n", "x", "log"), id="a subresource"),
        pytest.param("/api/v1/namespaces/n/pods/x/proxy/a/b", Route("", "v1", "pods", "n", "x", "proxy", "a/b"), id="what a proxy is asked for"),
        pytest.param("/api/v1/namespaces/n", Route("", "v1", "namespaces", "n", "n"), id="a namespace lies in itself"),
        pytest.param("/api/v1/namespaces/n/finalize", Route("", "v1", "namespaces", "n", "n", "finalize"), id="its own subresource"),
        pytest.param("/apis/apps/v1/deployments", Route("apps", "v1", "deployments"), id="a group"),
        pytest.param("/api/v1/watch/namespaces/n/pods", Route("", "v1", "pods", "n", watching=True), id="the old watch path"),
        pytest.param("/api/v1/", None, id="a version with a slash is discovery"),
        pytest.param("/apis/apps/v1", None, id="a group's version is discovery"),
        pytest.param("/healthz", None, id="something else"),
    ],
)
def test_a_path_says_what_it_is_about(path: str, wanted: Route | None) -> None:
    assert parse(path) == wanted


@pytest.mark.parametrize(
    ("method", "path", "watching", "wanted"),
    [
        ("GET", "/api/v1/pods", False, "list"),
        ("GET", "/api/v1/pods", True, "watch"),
        ("GET", "/api/v1/namespaces/n/pods/x", True, "get"),
        ("GET", "/api/v1/watch/namespaces/n/pods/x", False, "watch"),
        ("POST", "/api/v1/namespaces/n/pods", False, "create"),
        ("POST", "/api/v1/namespaces/n/pods/x/exec", False, "create"),
        ("PUT", "/api/v1/namespaces/n/pods/x/status", False, "update"),
        ("DELETE", "/api/v1/namespaces/n/pods", False, "deletecollection"),
        ("TRACE", "/api/v1/namespaces/n/pods", False, ""),
    ],
)
def test_a_method_on_a_path_is_a_verb(method: str, path: str, watching: bool, wanted: str) -> None:
    route = parse(path)
    assert route is not None
    assert verb(method, route, watching) == wanted


def test_a_registry_grows_and_shrinks() -> None:
    registry = Registry([kinds.POD])
    registry.add(kinds.DEPLOYMENT)
    assert registry.at("apps", "v1", "deployments") is kinds.DEPLOYMENT
    assert registry.has_group("apps")
    registry.remove(kinds.DEPLOYMENT)
    assert registry.at("apps", "v1", "deployments") is None
    assert not registry.has_group("apps")


def test_two_kinds_over_the_same_objects_share_the_stored_one() -> None:
    assert Registry().stored(kinds.EVENT_V1) is kinds.EVENT
