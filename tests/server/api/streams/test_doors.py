import pytest

from edgek.model.errors import ServiceUnavailable
from edgek.server.api.streams.doors import Doors
from tests.server.api.streams.scene import PlayedDoor


def test_a_node_is_asked_through_its_latest_door() -> None:
    doors, first, second = Doors(), PlayedDoor(), PlayedDoor()
    doors.open("n", first)
    doors.open("n", second)
    doors.close("n", first)  # the end of a connection that has been replaced
    assert doors.door("n") is second


def test_a_node_without_a_door_cannot_be_reached() -> None:
    doors, door = Doors(), PlayedDoor()
    doors.open("n", door)
    doors.close("n", door)
    with pytest.raises(ServiceUnavailable, match="'n' cannot be reached"):
        doors.door("n")
