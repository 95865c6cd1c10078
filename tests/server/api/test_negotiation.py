import gzip

import orjson
import pytest

from edgek.client.transport import Request, Response
from edgek.model import errors
from edgek.server.api.negotiation import GZIP_FROM, Wanted, compressed, dressed, joined, wanted, wants_gzip, wants_pretty
from edgek.server.api.responses import JSON, YAML

TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"


@pytest.mark.parametrize(
    ("accept", "shape"),
    [
        pytest.param("", Wanted(JSON), id="nothing means JSON"),
        pytest.param("*/*", Wanted(JSON), id="anything means JSON"),
        pytest.param("application/yaml", Wanted(YAML), id="YAML"),
        pytest.param("application/vnd.kubernetes.protobuf,application/json", Wanted(JSON), id="protobuf is answered in JSON"),
        pytest.param(f"{TABLE},application/json", Wanted(JSON, "Table"), id="what kubectl get sends"),
        pytest.param("text/html,application/json;q=0.9,application/yaml;q=1", Wanted(YAML), id="the better quality wins"),
        pytest.param("application/json;as=Nope;g=meta.k8s.io;v=v1,application/json", Wanted(JSON), id="an unknown transform is skipped"),
        pytest.param("application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1", Wanted(JSON, "PartialObjectMetadata"), id="metadata alone"),
    ],
)
def test_the_first_clause_that_can_be_answered_wins(accept: str, shape: Wanted) -> None:
    assert wanted(accept) == shape


@pytest.mark.parametrize(
    ("accept", "tables", "message"),
    [
        ("image/png", True, "406: Not Acceptable"),
        ("application/json;as=Table;v=v2;g=meta.k8s.io", True, "only the following media types are accepted"),
        (TABLE, False, "only the following media types are accepted"),
    ],
)
def test_what_cannot_be_answered_is_refused(accept: str, tables: bool, message: str) -> None:
    with pytest.raises(errors.NotAcceptable, match=message):
        wanted(accept, tables)


def test_people_get_indented_json_and_programs_do_not() -> None:
    assert wants_pretty(Request("GET", "/", headers={"user-agent": "curl/8.0"}))
    assert wants_pretty(Request("GET", "/", query=(("pretty", "true"),)))
    assert not wants_pretty(Request("GET", "/", query=(("pretty", "0"),), headers={"user-agent": "curl/8.0"}))
    assert not wants_pretty(Request("GET", "/", headers={"user-agent": "kubectl"}))


def test_an_answer_can_be_yaml() -> None:
    answer = dressed(Response(200, {"content-type": JSON}, b'{"a":{"b":1}}'), Request("GET", "/"), Wanted(YAML))
    assert joined(answer) == b"a:\n  b: 1\n"
    assert answer.headers["content-type"] == YAML


def test_only_big_answers_to_gets_are_compressed() -> None:
    big = Response(200, {}, orjson.dumps(["x"] * GZIP_FROM))
    asks = {"accept-encoding": "gzip, deflate"}
    assert wants_gzip(Request("GET", "/", headers=asks), big)
    assert not wants_gzip(Request("GET", "/"), big)
    assert not wants_gzip(Request("PUT", "/", headers=asks), big)
    assert not wants_gzip(Request("GET", "/", headers=asks), Response(200, {}, b"{}"))
    packed = compressed(big)
    assert gzip.decompress(joined(packed)) == big.body
    assert packed.headers["content-encoding"] == "gzip"
