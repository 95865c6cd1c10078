from __future__ import annotations

from ipaddress import IPv4Address
from pathlib import Path

import pytest

from edgek import config as settings
from edgek.cni.uplink import Uplink
from edgek.roles.whereabouts import TOLD_MOST, Whereabouts

HERE = Uplink(2, "eth0", IPv4Address("192.0.2.7"), 1500)
THERE = Uplink(3, "wwan0", IPv4Address("198.51.100.9"), 1400)


@pytest.fixture
def nothing(tmp_path: Path) -> Path:
    file = tmp_path / "none.yaml"
    file.write_text("")
    return file


def whereabouts(file: Path, seen: Uplink | None = HERE, anywhere: tuple[str, ...] = ("192.0.2.7", "203.0.113.5"), **flags: object) -> Whereabouts:
    made = Whereabouts(settings.load(flags, {}, file, "box"))
    made._take(seen, anywhere)  # whatever this machine has
    return made


def test_agents_are_told_the_best_address_first_and_names_before_further_ones(nothing: Path) -> None:
    where = whereabouts(nothing, tls_san=["edge.example.org", "*.example.org"])
    assert where.servers == ("https://192.0.2.7:6443", "https://edge.example.org:6443", "https://203.0.113.5:6443")


def test_the_certificate_names_all_of_them_and_what_pods_say(nothing: Path) -> None:
    names = whereabouts(nothing, tls_san=["*.example.org"]).names
    assert {"192.0.2.7", "203.0.113.5", "127.0.0.1", "10.43.0.1", "*.example.org", "box", "kubernetes.default.svc"} <= set(names)


def test_what_the_operator_says_counts(nothing: Path) -> None:
    where = whereabouts(nothing, advertise_address="203.0.113.80", https_listen_port="7443")
    assert where.advertised == "203.0.113.80"
    assert where.servers[0] == "https://203.0.113.80:7443"


def test_a_server_that_listens_on_one_address_tells_no_other(nothing: Path) -> None:
    where = whereabouts(nothing, bind_address="192.0.2.7", tls_san=["edge.example.org"])
    assert where.servers == ("https://192.0.2.7:6443", "https://edge.example.org:6443")


def test_another_address_is_followed(nothing: Path) -> None:
    where = whereabouts(nothing)
    assert where._take(THERE, ("198.51.100.9", "203.0.113.5"))
    assert where.advertised == "198.51.100.9"
    assert where.others == ("203.0.113.5",)
    assert not where._take(THERE, ("198.51.100.9", "203.0.113.5")), "the same again is nothing new"


def test_a_machine_whose_cable_is_out_stays_where_it_was(nothing: Path) -> None:
    where = whereabouts(nothing)
    assert not where._take(None, ())
    assert where.servers == ("https://192.0.2.7:6443", "https://203.0.113.5:6443")


def test_no_more_is_told_than_an_agent_will_try(nothing: Path) -> None:
    where = whereabouts(nothing, anywhere=tuple(f"203.0.113.{number}" for number in range(100)))
    assert len(where.servers) == TOLD_MOST
