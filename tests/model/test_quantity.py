import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgek.model import quantity


@pytest.mark.parametrize(
    ("written", "printed"),
    [
        ("0.5", "500m"),
        ("1000m", "1"),
        ("1.5Gi", "1536Mi"),
        ("1024Mi", "1Gi"),
        ("0", "0"),
        ("0Gi", "0"),
        ("1.5k", "1500"),
        ("100000", "100k"),
        ("1e3", "1e3"),
        ("12e2", "1200"),
        ("1E", "1E"),
        ("1E3", "1e3"),
        ("0.5Ki", "512"),
        ("100Ki", "100Ki"),
        ("1025Mi", "1025Mi"),
        ("-250m", "-250m"),
        ("+5", "5"),
        (".5", "500m"),
        ("5.", "5"),
        ("0.0000000001", "1n"),
        ("-0.0000000001", "-1n"),
        ("1.2345678901Ki", "1265"),
        ("2048", "2048"),
        ("1536Ki", "1536Ki"),
        ("9999999999999999999E", "9223372036854775807"),
        ("1e999999999999999999", "9223372036854775807"),
        ("1e-999999999999999999", "1e-9"),
    ],
)
def test_a_quantity_is_printed_in_its_canonical_form(written, printed):
    assert quantity.canonical(written) == printed


@pytest.mark.parametrize(
    ("written", "problem"),
    [
        ("", quantity.FORMAT_PROBLEM),
        ("abc", quantity.FORMAT_PROBLEM),
        (".", quantity.FORMAT_PROBLEM),
        ("1 Gi", quantity.FORMAT_PROBLEM),
        ("1.2.3", quantity.FORMAT_PROBLEM),
        ("1KiKi", quantity.SUFFIX_PROBLEM),
        ("1e", quantity.SUFFIX_PROBLEM),
        ("1K", quantity.SUFFIX_PROBLEM),
        ("1Mi5", quantity.SUFFIX_PROBLEM),
        ("1e99999999999999999999x", quantity.FORMAT_PROBLEM),
    ],
)
def test_what_is_no_quantity_is_refused_in_upstreams_words(written, problem):
    with pytest.raises(quantity.QuantityError) as caught:
        quantity.parse(written)
    assert str(caught.value) == problem


def test_an_endless_number_is_refused_at_once():
    with pytest.raises(quantity.QuantityError):
        quantity.parse("1" * 1_000_000 + "x")


def test_numbers_in_json_are_quantities_too():
    assert (quantity.of_json(2), quantity.of_json(0.5), quantity.of_json("2Gi")) == ("2", "500m", "2Gi")


def test_millicores_and_bytes_are_rounded_up():
    assert quantity.parse("1100u").millis == 2
    assert quantity.parse("1.1").value == 2
    assert quantity.parse("-1.1").value == -2


def test_sums_are_exact_and_keep_the_left_family():
    assert str(quantity.total(["0.1"] * 10)) == "1"
    assert str(quantity.parse("1Gi") + quantity.parse("1024")) == "1048577Ki"
    assert str(quantity.ZERO + quantity.parse("1Ki")) == "1Ki"
    assert str(quantity.parse("1Gi") - quantity.parse("512Mi")) == "512Mi"


@given(st.integers(-(10**24), 10**24), st.sampled_from(["decimal", "binary", "exponent"]))
def test_printing_and_parsing_again_loses_nothing_but_what_is_finer_than_a_byte(nanos, family):
    before = quantity.Quantity(nanos, family)
    after = quantity.parse(str(before))
    assert after.nanos == (before.value * quantity.NANO if family == "binary" and abs(nanos) >= 1024 * quantity.NANO else nanos)


@given(st.integers(-(10**12), 10**12), st.integers(-(10**12), 10**12))
def test_order_is_that_of_the_numbers(one, other):
    assert (quantity.Quantity(one) < quantity.Quantity(other)) == (one < other)
