import pytest

from edgek.client.transport import Request
from edgek.model import errors
from edgek.server.api import options


def asked(**query: str) -> Request:
    return Request("GET", "/", tuple(query.items()))


@pytest.mark.parametrize(
    ("query", "watching", "problem"),
    [
        pytest.param({"resourceVersionMatch": "Exact"}, False, "forbidden unless resourceVersion is provided", id="a match without a revision"),
        pytest.param({"resourceVersion": "0", "resourceVersionMatch": "Exact"}, False, 'forbidden for resourceVersion "0"', id="exactly any"),
        pytest.param({"resourceVersion": "1", "resourceVersionMatch": "Nope"}, False, "Unsupported value", id="an unknown match"),
        pytest.param({"sendInitialEvents": "true"}, False, "forbidden for list", id="initial events of a list"),
        pytest.param({"sendInitialEvents": "true"}, True, "requires setting resourceVersionMatch", id="initial events without a match"),
        pytest.param({"resourceVersionMatch": "NotOlderThan"}, True, "unless sendInitialEvents is provided", id="a match without initial events"),
    ],
)
def test_parameters_that_may_not_stand_together_are_invalid(query: dict[str, str], watching: bool, problem: str) -> None:
    with pytest.raises(errors.Invalid, match=problem):
        options.list_options(asked(**query), watching)


def test_a_continued_list_names_no_revision() -> None:
    with pytest.raises(errors.BadRequest, match="not allowed when using continue"):
        options.list_options(Request("GET", "/", (("continue", "x"), ("resourceVersion", "5"))), False)


def test_numbers_are_refused_in_the_words_of_go() -> None:
    with pytest.raises(errors.BadRequest, match=r'strconv\.ParseInt: parsing "abc": invalid syntax'):
        options.list_options(asked(limit="abc"), False)
    with pytest.raises(errors.ServerError, match=r"strconv\.ParseUint"):
        options.revision_of("abc")


def test_a_watch_parameter_counts_unless_it_says_no() -> None:
    assert [options.boolean(text) for text in ("1", "true", "nope", "", "0", "false")] == [True, True, True, False, False, False]


@pytest.mark.parametrize(
    ("query", "problem"),
    [
        ({"dryRun": "Some"}, 'dryRun: Unsupported value: \\["Some"\\]'),
        ({"fieldManager": "m" * 129}, "fieldManager: Too long"),
        ({"fieldValidation": "Maybe"}, "fieldValidation: Unsupported value"),
        ({"force": "true"}, "force: Forbidden: may not be specified for non-apply patch"),
    ],
)
def test_options_of_a_patch_are_checked(query: dict[str, str], problem: str) -> None:
    with pytest.raises(errors.Invalid, match=problem):
        options.write_options(asked(**query), "Patch")


def test_delete_options_come_from_the_body_or_the_query() -> None:
    body = {"gracePeriodSeconds": 5, "preconditions": {"uid": "u", "resourceVersion": "7"}, "propagationPolicy": "Orphan", "dryRun": ["All"]}
    found = options.delete_options(body, asked(gracePeriodSeconds="9"))
    assert (found.grace_s, found.uid, found.revision, found.propagation, found.dry_run) == (5, "u", "7", "Orphan", True)
    assert options.delete_options(None, asked(gracePeriodSeconds="9", propagationPolicy="Foreground")).grace_s == 9


def test_an_unknown_propagation_policy_is_invalid() -> None:
    with pytest.raises(errors.Invalid, match='supported values: "Foreground", "Background", "Orphan", "nil"'):
        options.delete_options({"propagationPolicy": "Nope"}, asked())
    with pytest.raises(errors.Invalid, match="cannot be both set"):
        options.delete_options({"propagationPolicy": "Orphan", "orphanDependents": True}, asked())
