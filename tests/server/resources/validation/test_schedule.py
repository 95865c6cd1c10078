from __future__ import annotations

import pytest

from edgek.server.resources.validation.schedule import schedule_problem, time_zone_problem
from tests.server.resources.scene import table


@pytest.mark.parametrize("schedule", ["* * * * *", "*/5 0-6 1,15 jan-mar mon", "0 0 ? * 0", "@hourly", "@every 1h"])
def test_a_schedule_that_cron_would_take(schedule: str) -> None:
    assert schedule_problem(schedule) == ""


@pytest.mark.parametrize(
    ("schedule", "problem"),
    table(
        {
            "too few fields": ("* * *", "expected exactly 5 fields, found 3: [* * *]"),
            "an hour that the day has not": ("0 24 * * *", "end of range (24) above maximum (23): 24"),
            "a day before the first": ("0 0 0 * *", "beginning of range (0) below minimum (1): 0"),
            "a range from behind": ("30-10 * * * *", "beginning of range (30) beyond end of range (10): 30-10"),
            "a step of nothing": ("*/0 * * * *", "step of range should be a positive number: */0"),
            "no number": ("a * * * *", 'failed to parse int from a: strconv.Atoi: parsing "a": invalid syntax'),
            "a name for the wrong thing": ("@never", "unrecognized descriptor: @never"),
            "a zone in the wrong place": ("TZ=UTC * * * * *", "cannot use TZ or CRON_TZ in schedule, use timeZone field instead"),
        }
    ),
)
def test_a_schedule_that_cron_would_not_take(schedule: str, problem: str) -> None:
    assert schedule_problem(schedule) == problem


def test_a_time_zone_is_the_same_on_every_server() -> None:
    assert time_zone_problem("Etc/UTC") == ""
    assert time_zone_problem("Local") == "timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones"
    assert time_zone_problem("../etc/passwd") == "unknown time zone ../etc/passwd"
