"""Every certificate that edgek keeps on this machine, and what is to be said of each. Files are read, and nobody is asked."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Literal

import attrs

from edgek.agent.membership import Folder
from edgek.config import Config
from edgek.host import der, pki
from edgek.host.der import Certificate
from edgek.model.credentials import split_pem
from edgek.server import pki as server_pki

AUTHORITY_DAYS_LEAST = 180  # an authority is not replaced in a hurry

Verdict = Literal["good", "former", "due", "ends soon", "ended", "not valid yet", "signed by none here", "unreadable"]
BAD: frozenset[Verdict] = frozenset({"ended", "not valid yet", "signed by none here", "unreadable"})
SAYS: dict[Verdict, str] = {
    "former": "trusted on until `edgek certificate rotate-ca --finish`",
    "due": "edgek renews it while it runs",
    "ends soon": "`edgek certificate rotate-ca`",
    "ended": "edgek renews it when it starts, or `edgek certificate rotate`",
    "not valid yet": "is this machine's clock right?",
    "signed by none here": "`edgek certificate rotate` makes it anew",
    "unreadable": "move the file away and start edgek again",
}


@attrs.frozen
class Entry:
    """``found`` is not there where the file could not be read."""

    name: str
    file: Path
    verdict: Verdict
    found: Certificate | None = None

    def days(self, now: float) -> int:
        """That are left; negative since it has ended."""
        return int((self.found.not_after - now) // pki.DAY_S) if self.found else 0


@attrs.frozen
class _Read:
    name: str
    file: Path
    found: Certificate | None
    is_authority: bool = False
    is_former: bool = False


def entries(config: Config, now: float) -> list[Entry]:
    """Authorities first. Raises PermissionError."""
    found: list[Entry] = []
    for side in (list(_server(config)), list(_agent(config))):
        authorities = [each.found for each in side if each.is_authority and each.found]
        found += [Entry(each.name, each.file, _verdict(each, authorities, now), each.found) for each in side]
    return found


def _verdict(read: _Read, authorities: Iterable[Certificate], now: float) -> Verdict:
    found = read.found
    if found is None:
        return "unreadable"
    if now >= found.not_after:
        return "ended"
    if now < found.not_before:
        return "not valid yet"
    left_days = (found.not_after - now) / pki.DAY_S
    if read.is_authority:
        return "former" if read.is_former else "ends soon" if left_days < AUTHORITY_DAYS_LEAST else "good"
    if not any(found.is_signed_by(each) for each in authorities):
        return "signed by none here"
    return "due" if left_days < pki.RENEW_DAYS else "good"


def _server(config: Config) -> Iterator[_Read]:
    folder = config.pki_dir
    if not server_pki.authority_path(folder, server_pki.SERVER_CA).exists():
        return
    for name in (server_pki.SERVER_CA, server_pki.CLIENT_CA, server_pki.FRONT_PROXY_CA):
        for index, read in enumerate(_certificates(name, server_pki.authority_path(folder, name))):
            yield attrs.evolve(read, is_authority=True, name=name if not index else f"{name} (parent)")
        for read in _certificates(f"{name} (former)", server_pki.former_path(folder, name), optional=True):
            yield attrs.evolve(read, is_authority=True, is_former=True)
    yield from _certificates("api-server", server_pki.serving_path(folder), only_first=True)
    yield from _certificates("admin", server_pki.admin_path(folder), only_first=True)
    yield from _kubeconfig(config)


def _agent(config: Config) -> Iterator[_Read]:
    folder = Folder(config.agent_dir)
    if not folder.client.exists():
        return
    for name, path in (("server-ca", folder.server_authority), ("client-ca", folder.client_authority)):
        for index, read in enumerate(_certificates(f"agent's {name}", path)):
            yield attrs.evolve(read, is_authority=True, is_former=bool(index))
    yield from _certificates("kubelet (client)", folder.client, only_first=True)
    yield from _certificates("kubelet (serving)", folder.serving, only_first=True)


def _certificates(name: str, path: Path, *, optional: bool = False, only_first: bool = False) -> Iterator[_Read]:
    try:
        pem = path.read_bytes()
    except FileNotFoundError:
        if not optional:
            yield _Read(name, path, None)
        return
    yield from _of_pem(name, path, pem, only_first=only_first)


def _of_pem(name: str, path: Path, pem: bytes, *, only_first: bool) -> Iterator[_Read]:
    found = split_pem(pem)
    for each in found[:1] if only_first else found:
        try:
            yield _Read(name, path, der.read(der.from_pem(each)))
        except (ValueError, binascii.Error):
            yield _Read(name, path, None)
    if not found:
        yield _Read(name, path, None)


def _kubeconfig(config: Config) -> Iterator[_Read]:
    """The administrator's; where another data directory has none of its own, the usual place holds another server's."""
    path = config.write_kubeconfig
    if not path.exists():
        return
    import yaml

    try:
        users = yaml.safe_load(path.read_text())["users"]
        pem = base64.b64decode(users[0]["user"]["client-certificate-data"])
    except (yaml.YAMLError, KeyError, IndexError, TypeError, ValueError):
        yield _Read("admin's kubeconfig", path, None)
        return
    held = split_pem(server_pki.admin_path(config.pki_dir).read_bytes()) if server_pki.admin_path(config.pki_dir).exists() else []
    if config.owns_host_paths or pem in held:
        yield from _of_pem("admin's kubeconfig", path, pem, only_first=True)
