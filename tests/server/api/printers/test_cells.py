from datetime import UTC, datetime

import pytest

from edgek.server.api.printers import cells

MINUTE, HOUR, DAY, YEAR = 60, 3600, 86400, 365 * 86400


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (-5, "<invalid>"),
        (-1, "0s"),
        (0.9, "0s"),
        (119, "119s"),
        (120, "2m"),
        (3 * MINUTE + 2, "3m2s"),
        (10 * MINUTE + 2, "10m"),
        (179 * MINUTE, "179m"),
        (3 * HOUR, "3h"),
        (7 * HOUR + 59 * MINUTE, "7h59m"),
        (9 * HOUR + 59 * MINUTE, "9h"),
        (47 * HOUR, "47h"),
        (2 * DAY, "2d"),
        (4 * DAY + 5 * HOUR, "4d5h"),
        (100 * DAY + 5 * HOUR, "100d"),
        (2 * YEAR + 30 * DAY, "2y30d"),
        (3 * YEAR, "3y"),
        (10 * YEAR + 30 * DAY, "10y"),
    ],
)
def test_an_age_has_the_digits_that_matter(seconds, shown):
    assert cells.duration(seconds) == shown


def test_what_was_never_is_of_unknown_age():
    assert cells.since(None, datetime(2020, 1, 1, tzinfo=UTC)) == "<unknown>"
    assert cells.since("2019-12-31T23:59:00Z", datetime(2020, 1, 1, tzinfo=UTC)) == "60s"


def test_long_lists_are_cut():
    assert cells.shortened(["a", "b", "c"]) == "a,b,c"
    assert cells.shortened(["a", "b", "c", "d", "e"]) == "a,b,c + 2 more..."
