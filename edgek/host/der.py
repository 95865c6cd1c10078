"""Read the few fields of an X.509 certificate that are asked for on every connection, without loading ``cryptography`` (16 MB).

Only for certificates whose signature TLS has verified, or that we made ourselves: nothing is checked here. RFC 5280 section 4.1 is the layout.
"""

from __future__ import annotations

import base64
import ipaddress
from collections.abc import Iterator
from datetime import UTC, datetime

import attrs

COMMON_NAME = b"\x55\x04\x03"  # 2.5.4.3
ORGANIZATION = b"\x55\x04\x0a"  # 2.5.4.10
UNIT = b"\x55\x04\x0b"  # 2.5.4.11
SUBJECT_ALT_NAME = b"\x55\x1d\x11"  # 2.5.29.17
SUBJECT_KEY = b"\x55\x1d\x0e"  # 2.5.29.14
AUTHORITY_KEY = b"\x55\x1d\x23"  # 2.5.29.35

_SEQUENCE = 0x30
_VERSION = 0xA0
_EXTENSIONS = 0xA3
_DNS_NAME, _IP_ADDRESS = 0x82, 0x87
_KEY_IDENTIFIER = 0x80
_UTC_TIME = 0x17
_BMP_STRING = 0x1E


@attrs.frozen
class Certificate:
    """``issuer`` and ``subject`` are the encoded names: equal bytes are the same name. ``not_before`` and ``not_after`` are seconds since the epoch.

    ``names`` are the DNS names and addresses of a server (subjectAltName). ``key_id`` and ``signer_key_id`` tell keys apart that bear one name; they
    are empty where the certificate has none.
    """

    issuer: bytes
    subject: bytes
    common_name: str
    organizations: tuple[str, ...]
    not_after: float
    names: tuple[str, ...]
    unit: str = ""  # organizationalUnitName
    not_before: float = 0.0
    issuer_name: str = ""  # the commonName of who signed it
    key_id: bytes = b""  # subjectKeyIdentifier
    signer_key_id: bytes = b""  # authorityKeyIdentifier

    def is_signed_by(self, authority: Certificate) -> bool:
        """By what both say of themselves: the signature is TLS's to verify."""
        same_key = self.signer_key_id == authority.key_id or not self.signer_key_id or not authority.key_id
        return self.issuer == authority.subject and same_key


def read(der: bytes) -> Certificate:
    """Raises ValueError for what is no certificate."""
    try:
        return _read(der)
    except (IndexError, UnicodeDecodeError, StopIteration) as error:
        raise ValueError("this is no X.509 certificate") from error


def from_pem(pem: bytes) -> bytes:
    """The DER of the first certificate in a PEM text. Raises ValueError when there is none."""
    _, begin, rest = pem.partition(b"-----BEGIN CERTIFICATE-----")
    body, end, _ = rest.partition(b"-----END CERTIFICATE-----")
    if not begin or not end:
        raise ValueError("there is no certificate in this PEM text")
    return base64.b64decode(b"".join(body.split()))


def _read(der: bytes) -> Certificate:
    outer = next(_elements(der))[1]
    fields = list(_elements(next(_elements(outer))[1]))
    if fields[0][0] == _VERSION:
        fields = fields[1:]
    issuer, validity, subject = fields[2], fields[3], fields[4]
    if not issuer[0] == validity[0] == subject[0] == _SEQUENCE:
        raise ValueError("this is no X.509 certificate")
    names = list(_names(subject[1]))
    said = dict(_extensions(fields[-1])) if fields[-1][0] == _EXTENSIONS else {}
    first, last = list(_elements(validity[1]))[:2]
    return Certificate(
        issuer=issuer[1],
        subject=subject[1],
        common_name=next((text for kind, text in names if kind == COMMON_NAME), ""),
        organizations=tuple(text for kind, text in names if kind == ORGANIZATION),
        not_before=_time(*first),
        not_after=_time(*last),
        names=tuple(_alternative_names(said[SUBJECT_ALT_NAME])) if SUBJECT_ALT_NAME in said else (),
        unit=next((text for kind, text in names if kind == UNIT), ""),
        issuer_name=next((text for kind, text in _names(issuer[1]) if kind == COMMON_NAME), ""),
        key_id=next(_elements(said[SUBJECT_KEY]))[1] if SUBJECT_KEY in said else b"",
        signer_key_id=_signer_key(said[AUTHORITY_KEY]) if AUTHORITY_KEY in said else b"",
    )


def _names(name: bytes) -> Iterator[tuple[bytes, str]]:
    for _, attributes in _elements(name):
        for _, attribute in _elements(attributes):
            (_, kind), (tag, text) = list(_elements(attribute))[:2]
            yield kind, text.decode("utf-16-be" if tag == _BMP_STRING else "utf-8")


def _extensions(extensions: tuple[int, bytes]) -> Iterator[tuple[bytes, bytes]]:
    """What each is called, and what it holds."""
    for _, extension in _elements(next(_elements(extensions[1]))[1]):
        parts = list(_elements(extension))
        yield parts[0][1], parts[-1][1]


def _alternative_names(content: bytes) -> Iterator[str]:
    for tag, value in _elements(next(_elements(content))[1]):
        if tag == _DNS_NAME:
            yield value.decode("ascii")
        elif tag == _IP_ADDRESS:
            yield str(ipaddress.ip_address(value))


def _signer_key(content: bytes) -> bytes:
    return next((value for tag, value in _elements(next(_elements(content))[1]) if tag == _KEY_IDENTIFIER), b"")


def _time(tag: int, text: bytes) -> float:
    """UTCTime has two digits for the year, those below 50 being of this century; GeneralizedTime has four."""
    stamp = text.decode("ascii")
    if tag == _UTC_TIME:
        stamp = ("20" if stamp[:2] < "50" else "19") + stamp
    return datetime.strptime(stamp, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC).timestamp()


def _elements(content: bytes) -> Iterator[tuple[int, bytes]]:
    """The (tag, value) pairs that follow each other. Tags are of one byte in everything we read."""
    at = 0
    while at < len(content):
        tag, length = content[at], content[at + 1]
        at += 2
        if length & 0x80:
            size = length & 0x7F
            length = int.from_bytes(content[at : at + size], "big")
            at += size
        if at + length > len(content):
            raise ValueError("this is no X.509 certificate: it is cut off")
        yield tag, content[at : at + length]
        at += length
