from datetime import UTC, datetime

import pytest

from edgek.model import instants


@pytest.mark.parametrize(
    ("written", "printed"),
    [
        ("2020-01-31T23:59:59Z", "2020-01-31T23:59:59Z"),
        ("2020-02-29T00:00:00.999Z", "2020-02-29T00:00:00Z"),
        ("2020-01-01T00:00:00+02:00", "2019-12-31T22:00:00Z"),
        ("2020-01-01T00:00:00-00:30", "2020-01-01T00:30:00Z"),
    ],
)
def test_a_time_is_printed_in_utc_to_the_second(written, printed):
    assert instants.canonical(written) == printed


def test_a_micro_time_keeps_six_digits():
    assert instants.canonical_micros("2020-01-01T01:00:00.123456+01:00") == "2020-01-01T00:00:00.123456Z"


@pytest.mark.parametrize(
    ("written", "problem"),
    [
        ("yesterday", 'parsing time "yesterday" as "2006-01-02T15:04:05Z07:00": cannot parse "yesterday" as "2006"'),
        ("2020-01-01", 'parsing time "2020-01-01" as "2006-01-02T15:04:05Z07:00": cannot parse "" as "T"'),
        ("2020-13-01T00:00:00Z", 'parsing time "2020-13-01T00:00:00Z": month out of range'),
        ("2020-02-30T00:00:00Z", 'parsing time "2020-02-30T00:00:00Z": day out of range'),
        ("2020-01-01T00:00:00Zx", 'parsing time "2020-01-01T00:00:00Zx": extra text: "x"'),
    ],
)
def test_what_is_no_time_is_refused_as_go_refuses_it(written, problem):
    with pytest.raises(instants.InstantError) as caught:
        instants.canonical(written)
    assert str(caught.value) == problem


def test_protobuf_times_count_from_1970():
    assert instants.of_unix(86400, 1_500_000) == datetime(1970, 1, 2, microsecond=1500, tzinfo=UTC)
