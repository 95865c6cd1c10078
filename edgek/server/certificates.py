"""Make a server's certificates and authorities anew: on disk, whether it runs or not. One that runs sees the files change (``roles/server.py``).

A new authority takes over at once, and the former one is trusted on until ``finish``: nobody has to be told at the same moment. Whoever knows only
the former one still believes the server, for it shows the former authority's word for the new one (a cross-signed certificate) along with its own.
Tokens of accounts are signed by a new key, and known by the former ones.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from edgek.host import der, files
from edgek.host import pki as host_pki
from edgek.host.pki import Pair
from edgek.model.errors import UsageError
from edgek.server import pki
from edgek.server.pki import CLIENT_CA, FRONT_PROXY_CA, SERVER_CA, Keys

AUTHORITIES = (SERVER_CA, CLIENT_CA, FRONT_PROXY_CA)
LEAVES = {"api-server": pki.serving_path, "admin": pki.admin_path}  # as k3s calls them
ACCOUNT_KEYS = ("service-account.key", "service.key")  # ours, k3s's


def rotate(folder: Path, names: Sequence[str]) -> Keys:
    """New certificates in the place of those called so. Names and addresses stay as they were."""
    with pki.locked(folder):
        called = served_names(folder)
        for name in names:
            LEAVES[name](folder).unlink(missing_ok=True)
        return pki.read_keys(folder, called)


def rotate_authorities(folder: Path, given: Mapping[str, Pair] | None = None, account_key: bytes = b"") -> Sequence[str]:
    """Replace every authority by one of our own making, or those of ``given`` by these; which ones were. Raises UsageError.

    One whose former is still trusted stays, so what was cut off half-way is done by doing it again.
    """
    with pki.locked(folder):
        called = served_names(folder)
        wanted = AUTHORITIES if given is None else tuple(given)
        replaced = [name for name in wanted if not _former_of(folder, name)]
        if wanted and not replaced:
            raise UsageError("the former authorities are still trusted: finish that first with `edgek certificate rotate-ca --finish`")
        for name in replaced:
            _replace(folder, name, given[name] if given else None)
        if account_key or given is None:
            _replace_account_key(folder, account_key or host_pki.make_signing_key())
        pki.read_keys(folder, called)
        return replaced


def finish(folder: Path, *, end_tokens: bool = False) -> Keys:
    """Trust the former authorities no more. With ``end_tokens`` what was signed by a former key of accounts is worthless, too."""
    with pki.locked(folder):
        pki.cross_path(folder).unlink(missing_ok=True)
        for name in AUTHORITIES:
            pki.former_path(folder, name).unlink(missing_ok=True)
        if end_tokens:
            pki.former_account_keys_path(folder).unlink(missing_ok=True)
        return pki.read_keys(folder, served_names(folder))


def is_under_way(folder: Path) -> bool:
    """Whether an authority is trusted that signs no more."""
    return bool(trusted_on(folder))


def trusted_on(folder: Path) -> list[str]:
    """Which authorities were replaced while the former one is still trusted."""
    return [name for name in AUTHORITIES if _former_of(folder, name)]


def given_in(folder: Path) -> tuple[dict[str, Pair], bytes]:
    """Somebody's own authorities, and a key for accounts: ``server-ca.crt`` and ``server-ca.key`` and so on, there or in ``tls``, as k3s has them.

    Raises UsageError.
    """
    place = folder / "tls" if (folder / "tls").is_dir() else folder
    found = {name: _given(place, name) for name in AUTHORITIES if (place / f"{name}.crt").exists()}
    account_key = next((_read(place / name) for name in ACCOUNT_KEYS if (place / name).exists()), b"")
    if not found and not account_key:
        raise UsageError(f"--path {folder}: there is none of {', '.join(f'{name}.crt' for name in AUTHORITIES)}, each with its key in NAME.key")
    if len({der.read(der.from_pem(pair.certificate)).subject for name, pair in found.items() if name != SERVER_CA}) < len(found.keys() - {SERVER_CA}):
        raise UsageError(f"--path {folder}: {CLIENT_CA} and {FRONT_PROXY_CA} bear one name, so nobody could tell whom they vouch for: give two names")
    if account_key:
        try:
            host_pki.load_key(account_key)
        except (ValueError, TypeError) as exc:
            raise UsageError(f"--path {folder}: the key for accounts will not do: {exc}") from None
    return found, account_key


def served_names(folder: Path) -> tuple[str, ...]:
    """What the server's certificate bears now."""
    found = host_pki.load(pki.serving_path(folder))
    return der.read(der.from_pem(found.certificate)).names if found else ()


def _given(folder: Path, name: str) -> Pair:
    try:
        return host_pki.checked_authority(_read(folder / f"{name}.crt"), _read(folder / f"{name}.key"))
    except ValueError as exc:
        raise UsageError(f"--path: {folder / name}.crt with its .key will not do: {exc}") from None


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as exc:
        raise UsageError(f"--path: {path} cannot be read: {exc.strerror}") from None


def _replace(folder: Path, name: str, given: Pair | None) -> None:
    """The former one's last word first, so that at no moment there is an authority that nobody believes."""
    path = pki.authority_path(folder, name)
    former = host_pki.load(path)
    if former is None:
        raise UsageError(f"{path} is not there: start `edgek server` once")
    fresh = given or pki.make_authority(name, unlike=former)
    if name == SERVER_CA and not _same_key(former, fresh):
        files.write_atomically(pki.cross_path(folder), host_pki.vouch(former, fresh.certificate))
    files.write_atomically(pki.former_path(folder, name), former.certificate)
    host_pki.save(path, fresh)


def _same_key(one: Pair, other: Pair) -> bool:
    first, second = (der.read(der.from_pem(pair.certificate)) for pair in (one, other))
    return first.subject == second.subject and bool(first.key_id) and first.key_id == second.key_id


def _replace_account_key(folder: Path, fresh: bytes) -> None:
    path, kept = pki.account_key_path(folder), pki.former_account_keys_path(folder)
    former = kept.read_bytes() if kept.exists() else b""
    own = host_pki.public_half(path.read_bytes())
    if own not in former:
        files.write_atomically(kept, own + former)
    files.write_atomically(path, fresh, files.SECRET_MODE)


def _former_of(folder: Path, name: str) -> bytes:
    former, found = pki.former_path(folder, name), host_pki.load(pki.authority_path(folder, name))
    text = former.read_bytes() if former.exists() else b""
    return b"" if found is not None and text == found.certificate else text
