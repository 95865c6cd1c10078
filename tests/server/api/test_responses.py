from edgek.model import errors, kinds
from edgek.server.api import responses
from edgek.server.api.responses import Line


def test_an_error_is_a_status_with_what_is_known() -> None:
    status = responses.status_of(responses.not_found(kinds.DEPLOYMENT, "x"))
    assert status["message"] == 'deployments.apps "x" not found'
    assert status["details"] == {"name": "x", "group": "apps", "kind": "deployments"}
    assert (status["reason"], status["code"]) == ("NotFound", 404)


def test_an_error_about_no_object_has_no_details_unless_upstream_gives_empty_ones() -> None:
    assert "details" not in responses.status_of(errors.BadRequest("nonsense"))
    assert responses.status_of(errors.NotFound(responses.NOT_FOUND))["details"] == {}


def test_a_client_is_told_when_to_come_back() -> None:
    answer = responses.error(errors.TooManyRequests("slow down", retry_after_s=7))
    assert (answer.status, answer.headers["retry-after"]) == (429, "7")


def test_several_problems_stand_in_brackets() -> None:
    one, two = errors.Cause("FieldValueRequired", "Required value", "a"), errors.Cause("FieldValueInvalid", "Invalid value: 1", "b")
    assert responses.invalid("apps", "Deployment", "x", [one]).message == 'Deployment.apps "x" is invalid: a: Required value'
    assert responses.invalid("", "Pod", "x", [one, two]).message == 'Pod "x" is invalid: [a: Required value, b: Invalid value: 1]'


def test_a_line_is_framed_as_a_chunk_once() -> None:
    line = Line(b'{"a":1}\n')
    assert line.framed == b'8\r\n{"a":1}\n\r\n'
    assert line.framed is line.framed
