"""Keys, certificates and signatures: the only door to ``cryptography``, which is loaded on first use (60 ms, 16 MB).

Keys are ECDSA P-256. A key and its certificate lie together in one file that only we may read.

**Clocks.** A board without a battery boots in 1970 and learns the time later, or never. So every certificate is valid from 1970 on, and lifetimes
count from ``SANE_NOW`` where the clock says less: what was made before the time was known is still good afterwards.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from edgek.host import der, files, wallclock
from edgek.model.credentials import split_pem

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec, rsa
    from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes

    Signer = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey

NOT_BEFORE = datetime(1970, 1, 1, tzinfo=UTC)
SANE_NOW = datetime(2026, 11, 1, tzinfo=UTC).timestamp()  # no clock that shows less can be right
DAY_S = 86400.0
AUTHORITY_DAYS = 20 * 365  # nodes pin it when they join, so it outlives the hardware
LEAF_DAYS = 365
RENEW_DAYS = 120  # a leaf with less than this left is made anew


@attrs.frozen
class Pair:
    """A certificate and its private key, as PEM."""

    certificate: bytes
    key: bytes

    @property
    def file_text(self) -> bytes:
        """Both in one text, as ``ssl.SSLContext.load_cert_chain`` reads it."""
        return self.key + self.certificate

    @property
    def not_after(self) -> float:
        return der.read(der.from_pem(self.certificate)).not_after


@attrs.frozen
class Subject:
    """Whom a leaf names and what it may be used for. ``names`` are the DNS names and addresses of a server, ``unit`` is what vouches for it."""

    common_name: str
    organizations: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    client: bool = True
    server: bool = False
    unit: str = ""


def make_authority(common_name: str) -> Pair:
    """A new authority that signs itself. It may vouch for the one that follows it: see ``vouch``."""
    key = _new_key()
    name = _name(Subject(common_name))
    return _signed(key, name, name, key, _authority_extensions(key), AUTHORITY_DAYS)


def issue(authority: Pair, subject: Subject) -> Pair:
    """A new key and its certificate."""
    key = _new_key()
    return _issue_for(authority, subject, key.public_key(), _key_pem(key))


def vouch(former: Pair, successor: bytes) -> bytes:
    """The successor's key in a certificate by the former authority: who trusts the former one then takes what the successor signed.

    Sent along with a leaf; RFC 4210, section 4.4, has it for the same purpose.
    """
    from cryptography import x509

    certificate = x509.load_pem_x509_certificate(successor)
    issuer = x509.load_pem_x509_certificate(former.certificate)
    extensions = [(each.value, each.critical) for each in certificate.extensions if not isinstance(each.value, x509.AuthorityKeyIdentifier)]
    extensions.append((x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(_key_id(issuer)), False))
    key, days = certificate.public_key(), (issuer.not_valid_after_utc.timestamp() - sane_now()) / DAY_S
    return _sign(_load_signer(former.key), issuer.subject, certificate.subject, key, extensions, days)


def may_vouch(authority: Pair) -> bool:
    """Whether anybody takes its word for another authority: its pathLenConstraint may forbid that."""
    from cryptography import x509

    constraints = x509.load_pem_x509_certificate(authority.certificate).extensions.get_extension_for_class(x509.BasicConstraints).value
    return constraints.path_length is None or constraints.path_length > 0


def checked_authority(certificate: bytes, key: bytes) -> Pair:
    """Somebody's own authority: its certificate, its parents' behind that, and its key. Raises ValueError that says what is wrong with it."""
    from cryptography import x509

    parents = split_pem(certificate)
    found = x509.load_pem_x509_certificate(certificate)
    if found.public_key() != _load_signer(key).public_key():
        raise ValueError("the key is not that of the certificate")
    try:
        if not found.extensions.get_extension_for_class(x509.BasicConstraints).value.ca:
            raise ValueError("it is no authority (basicConstraints says CA:FALSE)")
        if not found.extensions.get_extension_for_class(x509.KeyUsage).value.key_cert_sign:
            raise ValueError("it may not sign certificates (keyUsage lacks keyCertSign)")
    except x509.ExtensionNotFound as exc:
        if exc.oid == x509.BasicConstraints.oid:
            raise ValueError("it is no authority (it has no basicConstraints)") from None
    if not der.read(der.from_pem(certificate)).not_before <= sane_now() < found.not_valid_after_utc.timestamp():
        raise ValueError(f"it is valid from {found.not_valid_before_utc} to {found.not_valid_after_utc}")
    return Pair(b"".join(parents), key if key.endswith(b"\n") else key + b"\n")


def public_half(key: bytes) -> bytes:
    """Of a private key, in PEM."""
    from cryptography.hazmat.primitives import serialization

    return load_key(key).public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def sign_request(authority: Pair, request_pem: bytes, subject: Subject) -> bytes:
    """The certificate for somebody else's key, proven by their request; the subject is ours to say. Raises ValueError for a bad request."""
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec

    request = x509.load_pem_x509_csr(request_pem)
    key = request.public_key()
    if not request.is_signature_valid or not isinstance(key, ec.EllipticCurvePublicKey):
        raise ValueError("the request is not signed by its own EC key")
    return _issue_for(authority, subject, key, b"").certificate


def requested_organizations(request_pem: bytes) -> tuple[str, ...]:
    """Which organizations a certificate request asks for. Raises ValueError for a bad request."""
    from cryptography import x509
    from cryptography.x509.oid import NameOID

    subject = x509.load_pem_x509_csr(request_pem).subject
    return tuple(str(each.value) for each in subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME))


def make_request(subject: Subject) -> Pair:
    """A new key, and a request (as ``certificate``) that proves it: what a joining node sends."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization

    key = _new_key()
    request = x509.CertificateSigningRequestBuilder().subject_name(_name(subject)).sign(key, hashes.SHA256())
    return Pair(request.public_bytes(serialization.Encoding.PEM), _key_pem(key))


def make_signing_key() -> bytes:
    """A private key (PEM) for signatures alone."""
    return _key_pem(_new_key())


def sane_now() -> float:
    """Seconds since the epoch, never before this program was written, nor before a time that this machine has seen."""
    return max(wallclock.at_least(), SANE_NOW)


def renewal_is_due(certificate: bytes, days: float = RENEW_DAYS) -> bool:
    """Whether this PEM certificate has less than ``days`` left."""
    return der.read(der.from_pem(certificate)).not_after - sane_now() < days * DAY_S


def common_name(pair: Pair) -> str:
    return der.read(der.from_pem(pair.certificate)).common_name


def save(path: Path, pair: Pair) -> None:
    files.write_atomically(path, pair.file_text, files.SECRET_MODE)


def load(path: Path) -> Pair | None:
    """The pair in a file, None where there is no file. Raises ValueError for a file that holds something else."""
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        return None
    key, begin, rest = text.partition(b"-----BEGIN CERTIFICATE-----")
    try:
        der.read(der.from_pem(begin + rest))
        wrong = "" if b"PRIVATE KEY" in key else "there is no private key"
    except ValueError as error:
        wrong = str(error)
    if wrong:
        raise ValueError(f"{path} must hold a private key and then its certificate: {wrong}; move it away and a new one is made")
    return Pair(begin + rest, key)


def _new_key() -> ec.EllipticCurvePrivateKey:
    from cryptography.hazmat.primitives.asymmetric import ec

    return ec.generate_private_key(ec.SECP256R1())


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    from cryptography.hazmat.primitives import serialization

    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())


def load_key(pem: bytes) -> ec.EllipticCurvePrivateKey:
    """Raises ValueError for what is no EC key."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = serialization.load_pem_private_key(pem, None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ValueError("only EC keys are used here")  # noqa: TRY004 (a wrong file is a wrong value)
    return key


def _load_signer(pem: bytes) -> Signer:
    """An authority's key, which may be somebody's own of RSA. Raises ValueError."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec, rsa

    try:
        key = serialization.load_pem_private_key(pem, None)
    except TypeError as exc:
        raise ValueError(f"the key cannot be read: {exc}") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey):
        raise ValueError("only EC and RSA keys sign here")  # noqa: TRY004 (a wrong file is a wrong value)
    return key


def _issue_for(authority: Pair, subject: Subject, key: ec.EllipticCurvePublicKey, key_pem: bytes) -> Pair:
    from cryptography import x509

    issuer = x509.load_pem_x509_certificate(authority.certificate)
    certificate = _sign(_load_signer(authority.key), issuer.subject, _name(subject), key, _leaf_extensions(subject, issuer), LEAF_DAYS)
    return Pair(certificate, key_pem)


def _signed(
    key: ec.EllipticCurvePrivateKey,
    issuer: x509.Name,
    subject: x509.Name,
    signer: ec.EllipticCurvePrivateKey,
    extensions: Sequence[tuple[x509.ExtensionType, bool]],
    days: float,
) -> Pair:
    return Pair(_sign(signer, issuer, subject, key.public_key(), extensions, days), _key_pem(key))


def _sign(
    signer: Signer,
    issuer: x509.Name,
    subject: x509.Name,
    key: CertificatePublicKeyTypes,
    extensions: Sequence[tuple[x509.ExtensionType, bool]],
    days: float,
) -> bytes:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization

    start = datetime.fromtimestamp(sane_now(), UTC)
    builder = x509.CertificateBuilder(
        issuer_name=issuer,
        subject_name=subject,
        public_key=key,
        serial_number=x509.random_serial_number(),
        not_valid_before=NOT_BEFORE,
        not_valid_after=start + timedelta(days=days),
    )
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical)
    return builder.sign(signer, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def _name(subject: Subject) -> x509.Name:
    from cryptography import x509
    from cryptography.x509.oid import NameOID

    organizations = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, text) for text in subject.organizations]
    unit = [x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, subject.unit)] if subject.unit else []
    return x509.Name([*organizations, *unit, x509.NameAttribute(NameOID.COMMON_NAME, subject.common_name)])


def _authority_extensions(key: ec.EllipticCurvePrivateKey) -> list[tuple[x509.ExtensionType, bool]]:
    from cryptography import x509

    return [
        (x509.BasicConstraints(ca=True, path_length=None), True),
        (_key_usage(authority=True), True),
        (x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False),
    ]


def _leaf_extensions(subject: Subject, issuer: x509.Certificate) -> list[tuple[x509.ExtensionType, bool]]:
    from cryptography import x509
    from cryptography.x509.oid import ExtendedKeyUsageOID

    purposes = {ExtendedKeyUsageOID.SERVER_AUTH: subject.server, ExtendedKeyUsageOID.CLIENT_AUTH: subject.client}
    found: list[tuple[x509.ExtensionType, bool]] = [
        (x509.BasicConstraints(ca=False, path_length=None), True),
        (_key_usage(authority=False), True),
        (x509.ExtendedKeyUsage([purpose for purpose, wanted in purposes.items() if wanted]), False),
        (x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(_key_id(issuer)), False),
    ]
    if subject.names:
        found.append((x509.SubjectAlternativeName([_general_name(name) for name in subject.names]), False))
    return found


def _key_id(issuer: x509.Certificate) -> x509.SubjectKeyIdentifier:
    """As it says itself, or as RFC 5280, section 4.2.1.2, would have it."""
    from cryptography import x509

    try:
        return issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    except x509.ExtensionNotFound:
        return x509.SubjectKeyIdentifier.from_public_key(issuer.public_key())


def _key_usage(*, authority: bool) -> x509.KeyUsage:
    from cryptography import x509

    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=authority,
        crl_sign=authority,
        encipher_only=False,
        decipher_only=False,
    )


def _general_name(name: str) -> x509.GeneralName:
    from cryptography import x509

    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)
