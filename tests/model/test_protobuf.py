import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgek.model import protobuf


@given(st.integers(-(2**63), 2**63 - 1))
def test_a_number_comes_back_as_it_was_sent(number):
    ((got, wire_type, value),) = protobuf.fields(protobuf.varint_field(7, number))
    assert (got, wire_type) == (7, protobuf.VARINT)
    assert protobuf.signed(value) == number


def test_the_documented_example_is_three_bytes():
    assert protobuf.varint_field(1, 150) == b"\x08\x96\x01"


def test_a_message_is_read_field_by_field():
    message = protobuf.bytes_field(1, "é") + protobuf.double_field(2, 0.5) + protobuf.packed_field(3, [1, 300]) + protobuf.map_field(4, "a", "b")
    one, two, three, four = protobuf.fields(message)
    assert one == (1, protobuf.BYTES, b"\xc3\xa9")
    assert protobuf.double(two[2]) == 0.5
    assert list(protobuf.varints(three[2])) == [1, 300]
    assert [value for _, _, value in protobuf.fields(four[2])] == [b"a", b"b"]


@pytest.mark.parametrize("broken", [b"\x0a\x05ab", b"\x08", b"\x08" + b"\xff" * 10 + b"\x01", b"\x0b", b"\x00\x01", b"\x09\x01"])
def test_what_is_no_message_is_refused(broken):
    with pytest.raises(protobuf.DecodeError):
        list(protobuf.fields(broken))
