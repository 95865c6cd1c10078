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


def test_a_pod_that_asks_for_another_container_gets_the_address_it_had() -> None:
    pool = Pool(SMALL)
    had = pool.take("sandbox-1", "pod-a")
    pool.take("sandbox-2", "pod-b")
    pool.free("sandbox-1")
    assert pool.take("sandbox-3", "pod-c") != had
    assert pool.take("sandbox-4", "pod-a") == had


def test_the_address_of_a_pod_that_is_expected_is_kept_for_it_while_others_are_left() -> None:
    pool = Pool(SMALL)
    pool.expect({"a": IPv4Address("10.42.3.2"), "b": IPv4Address("10.42.3.4"), "stray": IPv4Address("10.9.9.9")})
    assert str(pool.take("c1", "new")) == "10.42.3.3"
    assert str(pool.take("c2", "b")) == "10.42.3.4"
    assert [str(pool.take(f"c{n}", f"new{n}")) for n in (3, 4)] == ["10.42.3.5", "10.42.3.6"]
    assert str(pool.take("c5", "last")) == "10.42.3.2", "nobody is refused for the sake of one who may not come"
    with pytest.raises(NoAddressLeft):
        pool.take("c6", "a")
