"""Certificates, read back by the same readers that serve them."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest

from edgek.host import der, pki, wallclock


@pytest.fixture(scope="module")
def authority() -> pki.Pair:
    return pki.make_authority("test-ca")


def test_a_leaf_says_who_it_is_without_loading_cryptography_again(authority: pki.Pair) -> None:
    leaf = pki.issue(authority, pki.Subject("alice", ("devs", "ops")))
    read = der.read(der.from_pem(leaf.certificate))
    assert (read.common_name, read.organizations) == ("alice", ("devs", "ops"))
    assert read.issuer == der.read(der.from_pem(authority.certificate)).subject


def test_a_server_leaf_carries_its_names_and_addresses(authority: pki.Pair) -> None:
    leaf = pki.issue(authority, pki.Subject("s", names=("localhost", "10.43.0.1", "fd00::1"), client=False, server=True))
    assert der.read(der.from_pem(leaf.certificate)).names == ("localhost", "10.43.0.1", "fd00::1")


@pytest.mark.parametrize("text", [b"", b"0", b"\x30\x03\x02\x01\x05", b"\x30\x82\xff\xff", b"\xff" * 40])
def test_what_is_no_certificate_is_a_value_error(text: bytes) -> None:
    with pytest.raises(ValueError):
        der.read(text)


def test_a_pem_text_without_certificate_is_a_value_error() -> None:
    with pytest.raises(ValueError):
        der.from_pem(b"-----BEGIN PRIVATE KEY-----")


def test_a_certificate_made_in_1970_is_still_good_once_the_clock_is_set(authority: pki.Pair) -> None:
    former = wallclock.use(lambda: 100.0)
    try:
        leaf = pki.issue(authority, pki.Subject("n"))
    finally:
        wallclock.use(former)
    assert leaf.not_after > pki.SANE_NOW + 300 * pki.DAY_S
    context = ssl.create_default_context(cadata=authority.certificate.decode())
    assert context.cert_store_stats()["x509_ca"] == 1


def test_renewal_is_due_when_the_rest_is_short(authority: pki.Pair) -> None:
    leaf = pki.issue(authority, pki.Subject("n")).certificate
    assert not pki.renewal_is_due(leaf)
    assert pki.renewal_is_due(leaf, days=366)


def test_a_saved_pair_comes_back_and_nobody_else_may_read_it(tmp_path: Path, authority: pki.Pair) -> None:
    path = tmp_path / "x.pem"
    pki.save(path, authority)
    assert pki.load(path) == authority
    assert path.stat().st_mode & 0o777 == 0o600
    ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(path)


def test_a_missing_file_is_none_and_a_foreign_one_an_error(tmp_path: Path) -> None:
    assert pki.load(tmp_path / "none") is None
    (tmp_path / "x").write_text("hello")
    with pytest.raises(ValueError):
        pki.load(tmp_path / "x")


def test_a_request_is_signed_for_the_subject_that_the_server_says(authority: pki.Pair) -> None:
    asked = pki.make_request(pki.Subject("system:node:mallory", ("system:masters",)))
    got = pki.sign_request(authority, asked.certificate, pki.Subject("system:node:a", ("system:nodes",)))
    assert der.read(der.from_pem(got)).organizations == ("system:nodes",)


def test_tls_with_client_certificates_works_end_to_end(tmp_path: Path, authority: pki.Pair) -> None:
    pki.save(tmp_path / "s.pem", pki.issue(authority, pki.Subject("s", names=("localhost",), client=False, server=True)))
    pki.save(tmp_path / "c.pem", pki.issue(authority, pki.Subject("alice", ("devs",))))
    server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context(cadata=authority.certificate.decode())
    server.load_cert_chain(tmp_path / "s.pem")
    server.verify_mode = ssl.CERT_OPTIONAL
    server.load_verify_locations(cadata=authority.certificate.decode())
    client.load_cert_chain(tmp_path / "c.pem")
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    near, far = client.wrap_bio(to_client, to_server, server_hostname="localhost"), server.wrap_bio(to_server, to_client, server_side=True)
    for _ in range(4):
        for end in (near, far):
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
    certificate = far.getpeercert(binary_form=True)
    assert certificate is not None
    assert der.read(certificate).common_name == "alice"
