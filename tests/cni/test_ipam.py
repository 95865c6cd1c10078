from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgek.cni.ipam import NoAddressLeft, Pool

SMALL = IPv4Network("10.42.3.0/29")  # five addresses for pods: .2 to .6


def test_the_first_address_is_the_nodes_and_the_last_is_nobodys() -> None:
    pool = Pool(SMALL)
    assert str(pool.gateway) == "10.42.3.1"
    assert [str(pool.take(name)) for name in "abcde"] == ["10.42.3.2", "10.42.3.3", "10.42.3.4", "10.42.3.5", "10.42.3.6"]
    with pytest.raises(NoAddressLeft, match="all 5 addresses"):
        pool.take("f")


def test_asking_again_gives_the_same_address() -> None:
    pool = Pool(SMALL)
    assert pool.take("a") == pool.take("a")


def test_a_freed_address_is_the_last_to_be_given_again() -> None:
    pool = Pool(SMALL)
    first = pool.take("a")
    pool.free("a")
    assert [pool.take(name) for name in "bcde"].count(first) == 0
    assert pool.take("f") == first


def test_what_an_earlier_run_gave_is_kept_and_the_next_comes_after() -> None:
    pool = Pool(SMALL, {"old": IPv4Address("10.42.3.3")})
    assert str(pool.take("new")) == "10.42.3.4"
    assert str(pool.take("old")) == "10.42.3.3"


@given(st.lists(st.tuples(st.sampled_from("abcdefgh"), st.booleans())))
def test_no_two_containers_ever_share_an_address(steps: list[tuple[str, bool]]) -> None:
    pool, held = Pool(SMALL), {}
    for name, take in steps:
        if not take:
            pool.free(name)
            held.pop(name, None)
        elif name in held or len(held) < 5:
            held[name] = pool.take(name)
        assert len(set(held.values())) == len(held)
        assert all(address in SMALL and address != pool.gateway for address in held.values())
