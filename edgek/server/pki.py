"""Which keys and certificates a server has, where they lie, and when they are made.

The first start makes the authorities, the key that signs service account tokens, the server's own certificate and the administrator's. Every later
start reads them, and makes a leaf anew where it runs out or where the server has a new name or address. Parts that run in the server's process need
no certificate; whoever else does gets one from ``issue``.

An authority that was replaced (``certificates.py``) is trusted on until that is finished: ``NAME.former.crt`` holds it, and ``NAME.cross.crt`` its
word for the one that followed, which goes along with the server's certificate.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from contextlib import AbstractContextManager
from pathlib import Path

import attrs

from edgek.host import der, files, pki, wallclock
from edgek.host.pki import Pair, Subject
from edgek.model.credentials import JoinToken, authority_hash, split_pem
from edgek.model.errors import UsageError

ADMIN = Subject("system:admin", ("system:masters",))
CONTROLLER_MANAGER = Subject("system:kube-controller-manager")
SCHEDULER = Subject("system:kube-scheduler")
KUBELET_CLIENT = Subject("kube-apiserver-kubelet-client", ("system:masters",))
NAMES_MOST = 40  # of a server's certificate, which is sent with every handshake
FRONT_PROXY = Subject("system:front-proxy")

# What authorities are called, as files and in their own names.
SERVER_CA, CLIENT_CA, FRONT_PROXY_CA = "server-ca", "client-ca", "request-header-ca"


def node(name: str, record: str = "") -> Subject:
    """A node's own identity, the client of its kubelet. ``record`` is the uid of what was kept of it when it joined."""
    return Subject(f"system:node:{name}", ("system:nodes",), unit=record)


def node_server(name: str, addresses: Iterable[str]) -> Subject:
    """What a kubelet shows to those who connect to it."""
    return Subject(f"system:node:{name}", ("system:nodes",), (name, *addresses), client=False, server=True)


@attrs.frozen
class Former:
    """Authorities (PEM) that were replaced and are trusted on, and public keys by which tokens of accounts are still known."""

    server: bytes = b""
    client: bytes = b""
    front_proxy: bytes = b""
    account_keys: bytes = b""


@attrs.frozen
class Keys:
    """All that the server holds: ``server_ca`` signs what servers show, ``client_ca`` who clients are, ``front_proxy_ca`` who speaks for others."""

    folder: Path
    server_ca: Pair
    client_ca: Pair
    front_proxy_ca: Pair
    serving: Pair
    admin: Pair
    service_account_key: bytes
    former: Former = Former()

    @property
    def serving_file(self) -> Path:
        """Key and certificate in one file, for ``ssl.SSLContext.load_cert_chain``."""
        return serving_path(self.folder)

    @property
    def server_authorities(self) -> bytes:
        """PEM of all by whom a server is known, the one that signs first."""
        return self.server_ca.certificate + self.former.server

    @property
    def node_authorities(self) -> bytes:
        """PEM of all who may say who a client is, the one that signs first."""
        return self.client_ca.certificate + self.former.client

    @property
    def front_proxy_authorities(self) -> bytes:
        return self.front_proxy_ca.certificate + self.former.front_proxy

    @property
    def client_authorities(self) -> bytes:
        """PEM of all who may vouch for a client in the TLS handshake."""
        return self.node_authorities + self.front_proxy_authorities

    @property
    def digest(self) -> str:
        """Of the authorities that sign for nodes and for who serves them."""
        return authority_hash(self.server_ca.certificate + self.client_ca.certificate)

    def issue(self, subject: Subject) -> Pair:
        """A fresh leaf, signed by the authority that the subject belongs to."""
        if subject == FRONT_PROXY:
            return pki.issue(self.front_proxy_ca, subject)
        return pki.issue(self.server_ca if subject.server else self.client_ca, subject)


def open_keys(folder: Path, names: Iterable[str]) -> Keys:
    """Read the keys in ``folder``, making what is missing or runs out. ``names`` are all DNS names and addresses of the server.

    Waits a moment while a command changes them.
    """
    files.make_private(folder)
    with locked(folder):
        return read_keys(folder, names)


def locked(folder: Path) -> AbstractContextManager[None]:
    """While nobody else changes the keys."""
    return files.locked(folder / ".lock")


def read_keys(folder: Path, names: Iterable[str]) -> Keys:
    """For who holds the lock."""
    server_ca = _authority(folder, SERVER_CA)
    client_ca = _authority(folder, CLIENT_CA)
    serving = Subject("edgek-apiserver", names=tuple(dict.fromkeys(names)), client=False, server=True)
    keys = Keys(
        folder=folder,
        server_ca=server_ca,
        client_ca=client_ca,
        front_proxy_ca=_authority(folder, FRONT_PROXY_CA),
        serving=_leaf(serving_path(folder), server_ca, serving, _behind(folder, server_ca)),
        admin=_leaf(admin_path(folder), client_ca, ADMIN),
        service_account_key=_signing_key(account_key_path(folder)),
        former=Former(
            server=_read_or_nothing(former_path(folder, SERVER_CA)),
            client=_read_or_nothing(former_path(folder, CLIENT_CA)),
            front_proxy=_read_or_nothing(former_path(folder, FRONT_PROXY_CA)),
            account_keys=_read_or_nothing(former_account_keys_path(folder)),
        ),
    )
    for name, bundle in (
        (SERVER_CA, keys.server_authorities),
        (CLIENT_CA, keys.node_authorities),
        (FRONT_PROXY_CA, keys.front_proxy_authorities),
    ):
        if _read_or_nothing(folder / f"{name}.crt") != bundle:
            files.write_atomically(folder / f"{name}.crt", bundle)
    return keys


def open_token(path: Path, keys: Keys, wanted: str = "", *, user: str = "server") -> JoinToken:
    """The token by which agents join: the secret in ``path``, made if there is none; ``wanted`` replaces it."""
    kept = path.read_text().strip() if path.exists() else ""
    secret = JoinToken.parse(wanted).secret if wanted else _secret_in(path, kept) if kept else secrets.token_hex(16)
    token = JoinToken(secret, user, authority_hash(split_pem(keys.server_ca.certificate)[0]))
    if str(token) != kept:
        files.write_atomically(path, f"{token}\n", files.SECRET_MODE)
    return token


def _secret_in(path: Path, kept: str) -> str:
    try:
        return JoinToken.parse(kept).secret
    except UsageError:
        raise UsageError(f"{path} holds no whole token: give it again with --token, or move the file away and a new one is made") from None


def serving_path(folder: Path) -> Path:
    return folder / "serving.pem"


def admin_path(folder: Path) -> Path:
    return folder / "admin.pem"


def authority_path(folder: Path, name: str) -> Path:
    """Its certificate and its key."""
    return folder / f"{name}.pem"


def former_path(folder: Path, name: str) -> Path:
    return folder / f"{name}.former.crt"


def cross_path(folder: Path) -> Path:
    return folder / f"{SERVER_CA}.cross.crt"


def account_key_path(folder: Path) -> Path:
    return folder / "service-account.key"


def former_account_keys_path(folder: Path) -> Path:
    return folder / "service-account.former.pub"


def _read_or_nothing(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""


def _behind(folder: Path, authority: Pair) -> bytes:
    """What a server shows behind its own certificate: the former authority's word for the one that signs, and the parents of that.

    In this order, for OpenSSL tries no other way than the first: who trusts the former authority has nothing else, the others have the bundle.
    """
    parents = [each for each in split_pem(authority.certificate) if not _signs_itself(each)]
    return _read_or_nothing(cross_path(folder)) + b"".join(parents)


def _signs_itself(pem: bytes) -> bool:
    read = der.read(der.from_pem(pem))
    return read.issuer == read.subject


def make_authority(name: str, unlike: Pair | None = None) -> Pair:
    """The time makes the name unlike that of an authority made before, which clients may still know."""
    stamp = int(wallclock.now())
    while unlike is not None and pki.common_name(unlike) == f"edgek-{name}@{stamp}":
        stamp += 1
    return pki.make_authority(f"edgek-{name}@{stamp}")


def _authority(folder: Path, name: str) -> Pair:
    path = authority_path(folder, name)
    found = pki.load(path)
    if found is None:
        found = make_authority(name)
        pki.save(path, found)
    return found


def _leaf(path: Path, authority: Pair, subject: Subject, behind: bytes = b"") -> Pair:
    """``behind`` are certificates that are shown along with it."""
    kept = found = pki.load(path)
    former = _names(found, authority) if found is not None else None
    if found is None or former is None or not set(subject.names) <= set(former):
        # Names from before stay for as long as that certificate would have: an address that comes and goes makes one new certificate, not many.
        names = tuple(dict.fromkeys([*subject.names, *(former or ())]))[: max(NAMES_MOST, len(subject.names))]
        found = pki.issue(authority, attrs.evolve(subject, names=names))
    found = attrs.evolve(found, certificate=split_pem(found.certificate)[0] + behind)
    if found != kept:
        pki.save(path, found)
    return found


def _names(leaf: Pair, authority: Pair) -> tuple[str, ...] | None:
    """Of a leaf that is still good but for its names."""
    seen = der.read(der.from_pem(leaf.certificate))
    signer = der.read(der.from_pem(authority.certificate))
    return seen.names if seen.is_signed_by(signer) and not pki.renewal_is_due(leaf.certificate) else None


def _signing_key(path: Path) -> bytes:
    if path.exists():
        key = path.read_bytes()
        if not key.startswith(b"-----BEGIN") or b"-----END" not in key:  # reading it for real would load cryptography
            raise ValueError(f"{path} must hold a private key; put it back from a copy, or move it away and a new one is made")
        return key
    key = pki.make_signing_key()
    files.write_atomically(path, key, files.SECRET_MODE)
    return key
