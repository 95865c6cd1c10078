import ipaddress

from edgek.host import addresses


def test_loopback_is_among_the_interfaces():
    assert addresses.of_interfaces()["lo"] == "127.0.0.1"


def test_the_primary_address_is_one_of_ours():
    found = addresses.primary()
    assert ipaddress.ip_address(found)
    assert found in {*addresses.of_interfaces().values(), "127.0.0.1"}
