"""Which keys and certificates a server has, where they lie, and when they are made.

The first start makes the authorities, the key that signs service account tokens, the server's own certificate and the administrator's. Every later
start reads them, and makes a leaf anew where it runs out or where the server has a new name or address. Parts that run in the server's process need
no certificate; whoever else does gets one from ``issue``.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from pathlib import Path

import attrs

from edgek.host import der, files, pki, wallclock
from edgek.host.pki import Pair, Subject
from edgek.model.credentials import JoinToken, authority_hash
from edgek.model.errors import UsageError

ADMIN = Subject("system:admin", ("system:masters",))
CONTROLLER_MANAGER = Subject("system:kube-controller-manager")
SCHEDULER = Subject("system:kube-scheduler")
KUBELET_CLIENT = Subject("kube-apiserver-kubelet-client", ("system:masters",))
NAMES_MOST = 40  # of a server's certificate, which is sent with every handshake
FRONT_PROXY = Subject("system:front-proxy")


def node(name: str, record: str = "") -> Subject:
    """A node's own identity, the client of its kubelet. ``record`` is the uid of what was kept of it when it joined."""
    return Subject(f"system:node:{name}", ("system:nodes",), unit=record)


def node_server(name: str, addresses: Iterable[str]) -> Subject:
    """What a kubelet shows to those who connect to it."""
    return Subject(f"system:node:{name}", ("system:nodes",), (name, *addresses), client=False, server=True)


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

    @property
    def serving_file(self) -> Path:
        """Key and certificate in one file, for ``ssl.SSLContext.load_cert_chain``."""
        return _serving_path(self.folder)

    @property
    def client_authorities(self) -> bytes:
        """PEM of all who may vouch for a client in the TLS handshake."""
        return self.client_ca.certificate + self.front_proxy_ca.certificate

    def issue(self, subject: Subject) -> Pair:
        """A fresh leaf, signed by the authority that the subject belongs to."""
        if subject == FRONT_PROXY:
            return pki.issue(self.front_proxy_ca, subject)
        return pki.issue(self.server_ca if subject.server else self.client_ca, subject)


def open_keys(folder: Path, names: Iterable[str]) -> Keys:
    """Read the keys in ``folder``, making what is missing or runs out. ``names`` are all DNS names and addresses of the server."""
    files.make_private(folder)
    server_ca = _authority(folder, "server-ca")
    client_ca = _authority(folder, "client-ca")
    serving = Subject("edgek-apiserver", names=tuple(dict.fromkeys(names)), client=False, server=True)
    return Keys(
        folder=folder,
        server_ca=server_ca,
        client_ca=client_ca,
        front_proxy_ca=_authority(folder, "request-header-ca"),
        serving=_leaf(_serving_path(folder), server_ca, serving),
        admin=_leaf(folder / "admin.pem", client_ca, ADMIN),
        service_account_key=_signing_key(folder / "service-account.key"),
    )


def open_token(path: Path, keys: Keys, wanted: str = "", *, user: str = "server") -> JoinToken:
    """The token by which agents join: the secret in ``path``, made if there is none; ``wanted`` replaces it."""
    kept = path.read_text().strip() if path.exists() else ""
    secret = JoinToken.parse(wanted).secret if wanted else _secret_in(path, kept) if kept else secrets.token_hex(16)
    token = JoinToken(secret, user, authority_hash(keys.server_ca.certificate))
    if str(token) != kept:
        files.write_atomically(path, f"{token}\n", files.SECRET_MODE)
    return token


def _secret_in(path: Path, kept: str) -> str:
    try:
        return JoinToken.parse(kept).secret
    except UsageError:
        raise UsageError(f"{path} holds no whole token: give it again with --token, or move the file away and a new one is made") from None


def _serving_path(folder: Path) -> Path:
    return folder / "serving.pem"


def _authority(folder: Path, name: str) -> Pair:
    path = folder / f"{name}.pem"
    found = pki.load(path)
    if found is None:
        # The time makes the name unlike that of an authority made before, which clients may still know.
        found = pki.make_authority(f"edgek-{name}@{int(wallclock.now())}")
        pki.save(path, found)
        files.write_atomically(folder / f"{name}.crt", found.certificate)
    return found


def _leaf(path: Path, authority: Pair, subject: Subject) -> Pair:
    found = pki.load(path)
    former = _names(found, authority) if found is not None else None
    if found is None or former is None or not set(subject.names) <= set(former):
        # Names from before stay for as long as that certificate would have: an address that comes and goes makes one new certificate, not many.
        names = tuple(dict.fromkeys([*subject.names, *(former or ())]))[: max(NAMES_MOST, len(subject.names))]
        found = pki.issue(authority, attrs.evolve(subject, names=names))
        pki.save(path, found)
    return found


def _names(leaf: Pair, authority: Pair) -> tuple[str, ...] | None:
    """Of a leaf that is still good but for its names."""
    seen = der.read(der.from_pem(leaf.certificate))
    signer = der.read(der.from_pem(authority.certificate))
    return seen.names if seen.issuer == signer.subject and not pki.renewal_is_due(leaf.certificate) else None


def _signing_key(path: Path) -> bytes:
    if path.exists():
        key = path.read_bytes()
        if not key.startswith(b"-----BEGIN") or b"-----END" not in key:  # reading it for real would load cryptography
            raise ValueError(f"{path} must hold a private key; put it back from a copy, or move it away and a new one is made")
        return key
    key = pki.make_signing_key()
    files.write_atomically(path, key, files.SECRET_MODE)
    return key
