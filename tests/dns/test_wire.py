import contextlib

from hypothesis import given
from hypothesis import strategies as st

from edgek.dns import wire


@given(st.binary(max_size=64))
def test_any_bytes_are_a_query_or_a_bad_message(raw):
    with contextlib.suppress(wire.BadMessage):
        query = wire.parse(raw)
        assert raw[wire.HEADER :].startswith(query.question.wire)


@given(st.lists(st.text("abcdefghijklmnopqrstuvwxyz0123456789-_", min_size=1, max_size=63), max_size=4))
def test_a_name_reads_back_as_it_was_written(labels):
    name = ".".join(labels)
    raw = wire.write_name(name)
    assert wire.read_name(raw, 0) == (name, len(raw))
