import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgek.server.api import gojson

JSON = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False) | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "unexpected end of JSON input"),
        ("{", "unexpected end of JSON input"),
        ("[{", "unexpected end of JSON input"),
        ("{a", "invalid character 'a' looking for beginning of object key string"),
        ("x", "invalid character 'x' looking for beginning of value"),
        ('{"a" 1}', "invalid character '1' after object key"),
        ('{"a":1 "b"', "invalid character '\"' after object key:value pair"),
        ("[1 2]", "invalid character '2' after array element"),
        ("1 x", "invalid character 'x' after top-level value"),
        ("tru]", "invalid character ']' in literal true (expecting 'e')"),
        ('"\\x"', "invalid character 'x' in string escape code"),
        ('"a\nb"', "invalid character '\\n' in string literal"),
        ("1.x", "invalid character 'x' after decimal point in numeric literal"),
        ("-x", "invalid character 'x' in numeric literal"),
        ('{"a":1,}', "invalid character '}' looking for beginning of object key string"),
    ],
)
def test_a_broken_text_is_told_as_go_tells_it(text, problem):
    assert gojson.problem(text.encode()) == problem


@given(JSON)
def test_what_is_json_has_no_problem(value):
    assert gojson.problem(json.dumps(value).encode()) == ""


def test_values_print_as_maps_and_lists():
    assert gojson.shown({"b": [1, "x", None], "a": {"c": True}}) == "map[a:map[c:true] b:[1 x <nil>]]"
