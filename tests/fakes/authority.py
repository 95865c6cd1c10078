"""An operator's own authority, with dates of his choice: those that edgek makes are valid from 1970 on."""

from __future__ import annotations

from datetime import datetime, timedelta

from edgek.host.pki import Pair


def valid_from(start: datetime, days: int = 3650) -> Pair:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "the operator's own")])
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), start, start + timedelta(days=days))
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), True)
    builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
    text = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return Pair(builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM), text)


def own_authority(*, rsa: bool = False) -> tuple[Pair, Pair]:
    """A root and an authority below it, as a company has them."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.asymmetric import rsa as rsa_keys
    from cryptography.x509.oid import NameOID

    keys = [rsa_keys.generate_private_key(65537, 2048) if rsa else ec.generate_private_key(ec.SECP256R1()) for _ in range(2)]
    names = [x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)]) for text in ("company root", "company edge")]
    made = []
    start = datetime.now().astimezone() - timedelta(days=1)
    for name, key in zip(names, keys, strict=True):
        builder = x509.CertificateBuilder(names[0], name, key.public_key(), x509.random_serial_number(), start, start + timedelta(days=3000))
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        text = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        made.append(Pair(builder.sign(keys[0], hashes.SHA256()).public_bytes(serialization.Encoding.PEM), text))
    return made[0], made[1]


def renewed(authority: Pair) -> Pair:
    """The same name and key for another ten years."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization

    from edgek.host import pki

    key, former = pki.load_key(authority.key), x509.load_pem_x509_certificate(authority.certificate)
    start = datetime.now().astimezone() - timedelta(days=1)
    builder = x509.CertificateBuilder(
        former.subject, former.subject, key.public_key(), x509.random_serial_number(), start, start + timedelta(days=3650)
    )
    for extension in former.extensions:
        builder = builder.add_extension(extension.value, extension.critical)
    return Pair(builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM), authority.key)
