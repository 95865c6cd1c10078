import io

import pytest

from edgek.host import log


@pytest.fixture
def out():
    stream = io.StringIO()
    log.configure("info", stream)
    yield stream
    log.configure("info")


def test_a_line_is_time_level_text_and_values(out):
    log.warning("cannot list", kind="pods", error="no route to host")
    assert out.getvalue().endswith('Z warning cannot list kind=pods error="no route to host"\n')


def test_what_is_below_the_level_is_silent(out):
    log.debug("service ready", service="api")
    assert out.getvalue() == ""


def test_a_value_of_several_lines_stays_on_one(out):
    log.info("failed", error="a\nb")
    assert out.getvalue().count("\n") == 1
