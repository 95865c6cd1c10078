import pytest

from edgek.server.api.streams.rewrite import Place, Target, backend_path, target

PLACE = Place("https", "api.example:6443", "/api/v1/namespaces/d/pods/p/proxy")
SEEN = "/api/v1/namespaces/d/pods/p/proxy"


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("web", Target("web")),
        ("web:80", Target("web", port="80")),
        ("https:web:443", Target("web", "https", "443")),
        ("http:web:", Target("web", "http")),
        (":80", None),
        ("ftp:web:21", None),
        ("a:b:c:d", None),
    ],
)
def test_a_name_may_hold_a_scheme_and_a_port(text: str, wanted: Target | None) -> None:
    assert target(text) == wanted


@pytest.mark.parametrize(
    ("link", "wanted"),
    [
        pytest.param("/a/b?x=1#y", f"{SEEN}/a/b?x=1#y", id="a path of the backend"),
        pytest.param("/a/", f"{SEEN}/a/", id="a last slash stays"),
        pytest.param("http://10.0.0.1:80/a", f"{SEEN}/a", id="the backend by its address"),
        pytest.param("https://api.example:6443/a", f"https://api.example:6443{SEEN}/a", id="the backend by the name that the client used"),
        pytest.param("http://elsewhere/a", "http://elsewhere/a", id="another host"),
        pytest.param("a/b", "a/b", id="a relative path"),
        pytest.param("/api/v1/namespaces/d/pods/p/proxy/a", f"{SEEN}/a", id="a path that knows the proxy"),
    ],
)
def test_links_lead_back_through_the_proxy(link: str, wanted: str) -> None:
    assert PLACE.link(link, "10.0.0.1:80") == wanted


def test_links_of_a_page_are_rewritten_and_its_text_is_not() -> None:
    page = b"""<html lang="de"><a class='x' href="/a">"/b"</a><img src='/i.png'><p title="/t">href="/no"</p><FORM action="rel"></html>"""
    seen = PLACE.page(page, "10.0.0.1:80").decode()
    assert f'href="{SEEN}/a"' in seen
    assert f"src='{SEEN}/i.png'" in seen
    assert '"/b"' in seen
    assert 'title="/t">href="/no"' in seen
    assert 'action="rel"' in seen


def test_a_page_of_tags_without_an_end_is_read_once() -> None:
    page = b"<a " * 200_000  # to look for each one's end in all that follows would take hours
    assert PLACE.page(page, "10.0.0.1:80") == page


def test_the_backends_path_is_what_follows_the_proxys() -> None:
    assert backend_path("/api/v1/namespaces/d/pods/p/proxy", namespaced=True) == ("/api/v1/namespaces/d/pods/p/proxy", "")
    assert backend_path("/api/v1/namespaces/d/pods/p/proxy/", namespaced=True) == ("/api/v1/namespaces/d/pods/p/proxy", "/")
    assert backend_path("/api/v1/nodes/n/proxy/a/b", namespaced=False) == ("/api/v1/nodes/n/proxy", "/a/b")
