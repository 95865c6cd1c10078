"""Certificates and authorities made anew: who knew the server before believes it on, and who is told to finish believes the former ones no more."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from edgek.host import der, files
from edgek.host import pki as host_pki
from edgek.host.pki import Pair, Subject
from edgek.model.credentials import split_pem
from edgek.model.errors import UsageError
from edgek.server import certificates, pki
from edgek.server.api.tokens import BadToken, ServiceAccountTokens
from edgek.server.pki import Keys
from edgek.server.store.memory import MemoryBackend
from tests.fakes.authority import own_authority, renewed, valid_from

NAMES = ("localhost", "edge.example", "192.0.2.1")


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    return pki.open_keys(tmp_path / "tls", NAMES)


def believes(authorities: bytes, keys: Keys) -> bool:
    """Whether OpenSSL takes what the server shows, and the server a client's certificate."""
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(keys.serving_file)
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.load_verify_locations(cadata=authorities.decode())
    return shake_hands(client, server)


def takes(keys: Keys, client_chain: Path) -> bool:
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(keys.serving_file)
    server.load_verify_locations(cadata=keys.client_authorities.decode())
    server.verify_mode = ssl.CERT_REQUIRED
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.load_verify_locations(cadata=keys.server_authorities.decode())
    client.load_cert_chain(client_chain)
    return shake_hands(client, server)


def shake_hands(client: ssl.SSLContext, server: ssl.SSLContext) -> bool:
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [
        client.wrap_bio(to_client, to_server, server_hostname="edge.example"),
        server.wrap_bio(to_server, to_client, server_side=True),
    ]
    waiting = True
    while waiting:
        waiting = False
        for end in ends:
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                waiting = True
            except ssl.SSLCertVerificationError:
                return False
    return True


def test_a_new_certificate_bears_the_same_names_and_the_others_stay(keys: Keys) -> None:
    fresh = certificates.rotate(keys.folder, ["api-server"])
    assert fresh.serving != keys.serving
    assert der.read(der.from_pem(fresh.serving.certificate)).names == NAMES
    assert (fresh.admin, fresh.server_ca, fresh.service_account_key) == (keys.admin, keys.server_ca, keys.service_account_key)
    assert certificates.rotate(keys.folder, ["admin"]).admin != keys.admin


def test_a_new_authority_is_believed_by_those_who_know_only_the_former_one(keys: Keys) -> None:
    assert set(certificates.rotate_authorities(keys.folder)) == {"server-ca", "client-ca", "request-header-ca"}
    fresh = pki.open_keys(keys.folder, NAMES)
    assert {fresh.server_ca, fresh.client_ca, fresh.front_proxy_ca} & {keys.server_ca, keys.client_ca, keys.front_proxy_ca} == set()
    assert believes(keys.server_ca.certificate, fresh)
    assert believes(fresh.server_ca.certificate, fresh)
    assert believes(fresh.server_authorities, fresh)
    assert not believes(host_pki.make_authority("another").certificate, fresh)


def test_clients_of_the_former_authority_are_taken_until_that_is_finished(keys: Keys, tmp_path: Path) -> None:
    host_pki.save(tmp_path / "client.pem", keys.issue(pki.node("far")))
    certificates.rotate_authorities(keys.folder)
    during = pki.open_keys(keys.folder, NAMES)
    assert takes(during, tmp_path / "client.pem")
    assert takes(during, during.folder / "admin.pem")
    after = certificates.finish(keys.folder)
    assert not takes(after, tmp_path / "client.pem")
    assert takes(after, after.folder / "admin.pem")
    assert not believes(keys.server_ca.certificate, after)
    assert believes(after.server_ca.certificate, after)
    assert after.server_ca == during.server_ca


def test_the_bundles_on_disk_hold_who_signs_first_and_then_the_former_one(keys: Keys) -> None:
    certificates.rotate_authorities(keys.folder)
    fresh = pki.open_keys(keys.folder, NAMES)
    bundle = (keys.folder / "server-ca.crt").read_bytes()
    assert split_pem(bundle) == [fresh.server_ca.certificate, keys.server_ca.certificate]
    certificates.finish(keys.folder)
    assert (keys.folder / "server-ca.crt").read_bytes() == fresh.server_ca.certificate


def test_a_second_time_waits_for_the_first_to_be_finished(keys: Keys) -> None:
    certificates.rotate_authorities(keys.folder)
    assert certificates.is_under_way(keys.folder)
    with pytest.raises(UsageError, match="--finish"):
        certificates.rotate_authorities(keys.folder)
    certificates.finish(keys.folder)
    assert not certificates.is_under_way(keys.folder)
    assert certificates.rotate_authorities(keys.folder)


@pytest.mark.parametrize("writes", range(1, 9))
def test_what_a_power_cut_left_half_done_is_believed_and_may_be_done_again(keys: Keys, monkeypatch: pytest.MonkeyPatch, writes: int) -> None:
    write, left = files.write_atomically, [writes]

    def cut_off(path: Path, content: bytes | str, mode: int = 0o644) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        write(path, content, mode)

    with monkeypatch.context() as patched:
        patched.setattr(files, "write_atomically", cut_off)
        with pytest.raises(KeyboardInterrupt):
            certificates.rotate_authorities(keys.folder)
    half = pki.open_keys(keys.folder, NAMES)
    assert believes(keys.server_ca.certificate, half)
    assert takes(half, half.folder / "admin.pem")
    if len(certificates.trusted_on(keys.folder)) < 3:
        certificates.rotate_authorities(keys.folder)
    fresh = pki.open_keys(keys.folder, NAMES)
    assert {fresh.server_ca, fresh.client_ca, fresh.front_proxy_ca} & {keys.server_ca, keys.client_ca, keys.front_proxy_ca} == set()
    assert believes(keys.server_ca.certificate, fresh)


def test_tokens_signed_by_the_former_key_are_known_until_that_is_ended(keys: Keys) -> None:
    def tokens(keys: Keys) -> ServiceAccountTokens:
        return ServiceAccountTokens(MemoryBackend(10), keys.service_account_key, issuer="here", former_keys=keys.former.account_keys)

    former = tokens(keys).issue("default", "a", "uid", ["here"], 3600, {})
    certificates.rotate_authorities(keys.folder)
    during = tokens(pki.open_keys(keys.folder, NAMES))
    with pytest.raises(BadToken, match="invalidated"):  # so its signature is good, and the account is not there
        during.verify(former)
    assert len(during.jwks()["keys"]) == 2
    after = tokens(certificates.finish(keys.folder, end_tokens=True))
    with pytest.raises(BadToken, match="signature"):
        after.verify(former)


def put(folder: Path, name: str, pair: Pair) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.crt").write_bytes(pair.certificate)
    (folder / f"{name}.key").write_bytes(pair.key)


def test_somebodys_own_authority_takes_over_where_it_is_given_and_the_others_stay(keys: Keys, tmp_path: Path) -> None:
    root, own = own_authority(rsa=True)
    put(tmp_path / "given" / "tls", "server-ca", Pair(own.certificate + root.certificate, own.key))
    given, account_key = certificates.given_in(tmp_path / "given")
    assert certificates.rotate_authorities(keys.folder, given, account_key) == ["server-ca"]
    fresh = pki.open_keys(keys.folder, NAMES)
    assert (fresh.client_ca, fresh.service_account_key) == (keys.client_ca, keys.service_account_key)
    assert believes(fresh.server_authorities, fresh)
    assert believes(keys.server_ca.certificate, fresh), "who knows the former one"
    assert believes(root.certificate, certificates.finish(keys.folder)), "who knows the root of that authority"


def test_what_cannot_be_an_authority_is_refused_by_name(keys: Keys, tmp_path: Path) -> None:
    authority = host_pki.make_authority("mine")
    wrong = {
        "CA:FALSE": host_pki.issue(authority, Subject("leaf")),
        "not that of the certificate": Pair(authority.certificate, host_pki.make_authority("other").key),
        "valid from": valid_from(datetime.now(UTC) - timedelta(days=100), days=50),
    }
    for says, pair in wrong.items():
        put(tmp_path / "given", "client-ca", pair)
        with pytest.raises(UsageError, match=says):
            certificates.given_in(tmp_path / "given")
    with pytest.raises(UsageError, match="there is none of"):
        certificates.given_in(tmp_path / "nothing")


def test_one_authority_for_clients_and_for_who_speaks_for_others_is_refused(tmp_path: Path) -> None:
    authority = host_pki.make_authority("both")
    for name in ("client-ca", "request-header-ca"):
        put(tmp_path, name, authority)
    with pytest.raises(UsageError, match="bear one name"):
        certificates.given_in(tmp_path)


def test_the_same_key_with_a_longer_life_needs_nobodys_word(keys: Keys, tmp_path: Path) -> None:
    put(tmp_path / "given", "server-ca", renewed(keys.server_ca))
    certificates.rotate_authorities(keys.folder, *certificates.given_in(tmp_path / "given"))
    fresh = pki.open_keys(keys.folder, NAMES)
    assert not pki.cross_path(keys.folder).exists()
    assert fresh.serving == keys.serving
    assert believes(keys.server_ca.certificate, fresh)


def test_an_authority_that_may_not_vouch_for_another_is_known_as_such(keys: Keys) -> None:
    assert host_pki.may_vouch(keys.server_ca)
    assert not host_pki.may_vouch(valid_from(datetime.now(UTC)))
