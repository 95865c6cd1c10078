from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgek.host.message import Message, flag, labels, many, number, numbers, raw, sub, text, texts, unsigned
from edgek.model import protobuf

INNER = Message(name=text(1), attempt=number(4))
EVERYTHING = Message(
    a_text=text(1), a_raw=raw(2), a_number=number(3), an_unsigned=unsigned(4), a_flag=flag(5), a_sub=sub(6, INNER), some_texts=texts(7),
    some_numbers=numbers(8), some_subs=many(9, INNER), some_labels=labels(300),
)  # fmt: skip
EMPTY = {
    "a_text": "", "a_raw": b"", "a_number": 0, "an_unsigned": 0, "a_flag": False, "a_sub": None, "some_texts": [], "some_numbers": [],
    "some_subs": [], "some_labels": {},
}  # fmt: skip
INT64 = st.integers(-(2**63), 2**63 - 1)
INNERS = st.fixed_dictionaries({"name": st.text(), "attempt": INT64})


@given(
    st.fixed_dictionaries({
        "a_text": st.text(), "a_raw": st.binary(), "a_number": INT64, "an_unsigned": st.integers(0, 2**64 - 1), "a_flag": st.booleans(),
        "a_sub": st.none() | INNERS, "some_texts": st.lists(st.text()), "some_numbers": st.lists(INT64), "some_subs": st.lists(INNERS),
        "some_labels": st.dictionaries(st.text(), st.text()),
    })
)  # fmt: skip
def test_what_is_encoded_is_decoded(values: dict[str, object]) -> None:
    assert EVERYTHING.decode(EVERYTHING.encode(values)) == values


def test_nothing_is_sent_for_zeros_and_nothing_decodes_to_zeros() -> None:
    assert EVERYTHING.encode(EMPTY) == b""
    assert EVERYTHING.decode(b"") == EMPTY


def test_an_empty_message_within_is_sent_and_told_from_an_absent_one() -> None:
    assert EVERYTHING.decode(EVERYTHING.encode({"a_sub": {}}))["a_sub"] == {"name": "", "attempt": 0}


def test_the_bytes_are_those_of_the_protobuf_documentation() -> None:
    assert Message(a=number(1)).encode({"a": 150}) == bytes.fromhex("089601")
    assert Message(b=text(2)).encode({"b": "testing"}) == bytes.fromhex("120774657374696e67")
    assert Message(f=numbers(6)).encode({"f": [3, 270, 86942]}) == bytes.fromhex("3206038e029ea705")


def test_numbers_are_read_unpacked_too() -> None:
    assert Message(f=numbers(6)).decode(bytes.fromhex("3003308e02"))["f"] == [3, 270]


def test_unknown_fields_are_passed_over() -> None:
    assert INNER.decode(EVERYTHING.encode({"a_text": "kept", "some_labels": {"a": "b"}})) == {"name": "kept", "attempt": 0}


def test_a_misspelt_field_is_an_error() -> None:
    with pytest.raises(KeyError):
        INNER.encode({"nmae": "x"})


def test_a_field_of_the_wrong_type_is_refused() -> None:
    with pytest.raises(protobuf.DecodeError):
        INNER.decode(Message(name=number(1)).encode({"name": 7}))
