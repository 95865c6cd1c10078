import pytest

from edgek.model import selectors
from edgek.model.selectors import SelectorError

LABELS = {"app": "web", "tier": "front", "n": "5"}


@pytest.mark.parametrize(
    ("selector", "matches"),
    [
        ("", True),
        ("app=web", True),
        ("app==web", True),
        ("app!=web", False),
        ("missing!=web", True),
        ("app in (web,db)", True),
        ("app in (db, cache)", False),
        ("tier notin (front)", False),
        ("missing notin (front)", True),
        ("tier", True),
        ("!tier", False),
        ("!missing", True),
        ("n>4", True),
        ("n<5", False),
        ("app>1", False),
        ("missing>1", False),
        ("app=web,tier=front", True),
        ("app=web,app=db", False),
        ("app=", False),
        (" app = web , n ", True),
        ("app in (,web)", True),
        ("example.com/x=1", False),
    ],
)
def test_a_label_selector_selects(selector, matches):
    assert selectors.parse_labels(selector).matches(LABELS) == matches


@pytest.mark.parametrize(
    ("selector", "problem"),
    [
        ("n>abc", "unable to parse requirement: values[0]: Invalid value: \"abc\": for 'Gt', 'Lt' operators, the value must be an integer"),
        ("app in (web", "unable to parse requirement: found '', expected: ',' or ')'"),
        ("app in web", "unable to parse requirement: found 'web' expected: '('"),
        ("app in ()", "unable to parse requirement: values: Invalid value: []: for 'in', 'notin' operators, values set can't be empty"),
        ("app=web,", "found '', expected: identifier after ','"),
        ("=web", "found '=', expected: !, identifier, or 'end of string'"),
        ("app web", "unable to parse requirement: found 'web', expected: in, notin, =, ==, !=, gt, lt"),
        ("app=(", "unable to parse requirement: found '(', expected: identifier"),
        ("app=a b", "found 'b', expected: ',' or 'end of string'"),
    ],
)
def test_a_broken_label_selector_is_refused_in_upstreams_words(selector, problem):
    with pytest.raises(SelectorError) as caught:
        selectors.parse_labels(selector)
    assert caught.value.message == problem
    assert caught.value.code == 400


def test_a_bad_value_says_where_it_stands():
    with pytest.raises(SelectorError, match=r'unable to parse requirement: values\[0\]\[app\]: Invalid value: "a/b": a valid label must be'):
        selectors.parse_labels("app=a/b")


def test_a_selector_prints_sorted_by_key():
    assert str(selectors.parse_labels("b in (y,x),!c,a==1,d>3")) == "a==1,b in (x,y),!c,d>3"


def test_no_selector_object_selects_nothing_and_an_empty_one_everything():
    assert not selectors.of_dict(None).matches({})
    assert selectors.of_dict({}).matches(LABELS)
    assert selectors.of_dict({}).is_empty


def test_labels_and_expressions_must_both_hold():
    selector = selectors.of_dict({"matchLabels": {"app": "web"}, "matchExpressions": [{"key": "tier", "operator": "NotIn", "values": ["back"]}]})
    assert selector.matches(LABELS)
    assert not selector.matches({"app": "web", "tier": "back"})


def test_an_unknown_operator_is_named():
    with pytest.raises(SelectorError, match='"Like" is not a valid label selector operator'):
        selectors.of_dict({"matchExpressions": [{"key": "a", "operator": "Like"}]})


@pytest.mark.parametrize(
    ("selector", "matches"),
    [
        ("metadata.name=a", True),
        ("metadata.name==a", True),
        ("metadata.name!=a", False),
        ("metadata.name=a,spec.nodeName=", True),
        ("metadata.name=a,,", True),
        (r"reason=x\,y\=z", True),
    ],
)
def test_a_field_selector_selects(selector, matches):
    assert selectors.parse_fields(selector).matches({"metadata.name": "a", "reason": "x,y=z"}) == matches


def test_a_field_selector_without_operator_is_refused():
    with pytest.raises(SelectorError) as caught:
        selectors.parse_fields("metadata.name")
    assert caught.value.message == "invalid selector: 'metadata.name'; can't understand 'metadata.name'"


def test_unknown_fields_are_refused_in_the_words_of_the_kind():
    selector = selectors.parse_fields("spec.replicas=1")
    with pytest.raises(SelectorError, match=r'"spec\.replicas" is not a known field selector: only "metadata\.name", "metadata\.namespace"'):
        selector.check("Deployment", ())
    with pytest.raises(SelectorError, match=r"field label not supported: spec\.replicas"):
        selector.check("Pod", ["spec.nodeName"])
    selectors.parse_fields("spec.nodeName=n,metadata.name=x").check("Pod", ["spec.nodeName"])


def test_the_exact_name_can_be_read_off_a_field_selector():
    assert selectors.parse_fields("metadata.name=x").exact("metadata.name") == "x"
    assert selectors.parse_fields("metadata.name!=x").exact("metadata.name") is None
    assert str(selectors.parse_fields(r"a=x\,y,b!=2")) == r"a=x\,y,b!=2"


@pytest.mark.parametrize("values", [[], ["1", "2"]])
def test_a_comparison_needs_exactly_one_value(values: list[str]) -> None:
    with pytest.raises(SelectorError, match="exactly one value is required"):
        selectors.of_expression({"key": "n", "operator": "Gt", "values": values})
