from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgek.server.resources.validation import names
from edgek.server.resources.validation.names import NameCheck
from tests.server.resources.scene import table


@pytest.mark.parametrize(
    ("check", "good", "bad"),
    table(
        {
            "a DNS label": (names.dns_label, ["a", "1a", "a-b", "a" * 63], ["", "A", "-a", "a-", "a.b", "a" * 64, "a\n"]),
            "a label that begins with a letter": (names.dns_label_1035, ["a1"], ["1a"]),
            "a DNS subdomain": (names.dns_subdomain, ["a.b", "1.2"], ["a..b", ".a", "a_b", "a" * 254]),
            "a domain with a wildcard": (names.wildcard_subdomain, ["*.a.b"], ["*", "a.*.b", "a.b"]),
            "a qualified name": (names.qualified_name, ["a", "A.b_c", "x.io/y"], ["", "/a", "x.io/", "a/b/c", "X/y", "-a"]),
            "a name with a domain before it": (names.domain_prefixed_path, ["acme.io/foo"], ["", "foo", "/foo", "acme.io/"]),
            "a label's value": (names.label_value, ["", "a", "A_b.c-d"], ["-a", "a-", "a b", "a" * 64]),
            "a port by name": (names.port_name, ["http", "a1"], ["80", "", "a--b", "-a", "A", "a" * 16]),
            "a port by number": (names.port, [1, 65535], [0, 65536, -1]),
            "a key of a config map": (names.config_key, ["a.b", ".hidden", "A_b"], ["", ".", "..", "..a", "a/b"]),
            "a variable of the environment": (names.env_name, ["A", "a b", "1"], ["", "A=b", "ä"]),
            "an address": (names.ip, ["10.0.0.1", "fd00::1"], ["", "x", "10.0.0", "010.0.0.1", "fe80::1%eth0"]),
            "a range of addresses": (names.cidr, ["10.0.0.0/8", "10.0.0.1/8", "fd00::/8"], ["10.0.0.1", "x/8", "10.0.0.0/33"]),
            "a percentage": (names.percent, ["0%", "150%"], ["%", "1", "-1%", "1.5%"]),
        }
    ),
)
def test_names(check: NameCheck, good: list[str], bad: list[str]) -> None:
    assert [value for value in good if check(value)] == []
    assert [value for value in bad if not check(value)] == []


@given(st.text())
def test_whatever_is_a_label_is_also_a_subdomain_and_a_label_value(text: str) -> None:
    if not names.dns_label(text):
        assert names.dns_subdomain(text) == names.label_value(text) == []
